"""The device key sealed in a TPM: a real one, in software."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devices.errors import DeviceKeyError
from edge.journal import tpm
from tests.edge.journal.conftest import Device, decide


@pytest.fixture(autouse=True)
def needs_swtpm() -> None:
    if shutil.which("swtpm") is None or shutil.which("tpm2_unseal") is None:
        pytest.skip("needs swtpm and tpm2-tools: requirements/system.txt")


def free_port() -> int:
    """A port whose next one is free too: the one for control."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
        return port


@contextmanager
def running_tpm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "not-need-init,startup-clear"]
    command += ["--server", f"type=tcp,port={port},bindaddr=127.0.0.1"]
    command += ["--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        monkeypatch.setenv(tpm.TCTI, f"swtpm:host=127.0.0.1,port={port}")
        for _ in range(100):
            if subprocess.run(["tpm2_getrandom", "4"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def test_a_key_sealed_in_a_tpm_opens_there_and_nowhere_else(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_tpm(tmp_path / "tpm", monkeypatch):
        keys = device.keys()
        journal = device.open()
        entry = decide(journal, 0)
        device.opened.pop().close()
        assert keys.protection == "tpm"
        assert "secret" not in json.loads((keys.folder / "device-key.json").read_text())
    with running_tpm(tmp_path / "tpm", monkeypatch):  # the board was started again
        journal = device.open()
        assert journal.record(entry, "receipt")
        assert journal.keys.public_bytes == keys.public_bytes
        device.opened.pop().close()
    with running_tpm(tmp_path / "another", monkeypatch), pytest.raises(DeviceKeyError, match="TPM refused"):
        device.keys()
    monkeypatch.delenv(tpm.TCTI)
    monkeypatch.setattr(tpm, "DEVICE", tmp_path / "none")
    with pytest.raises(DeviceKeyError, match="sealed in the TPM, and this user reaches none"):
        device.keys()


def test_a_tpm_that_refuses_leaves_the_key_in_a_file_and_says_so(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(tpm.TCTI, "swtpm:host=127.0.0.1,port=1")
    assert device.keys().protection == "file"
    assert "kept in a file and not in the TPM" in caplog.text
