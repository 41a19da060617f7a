"""Loading, serving and scoring reach for nothing outside this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

APPLICATION = Path(__file__).parents[2] / "examples" / "application"
NOBODY = 65534


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that refuses and writes down every attempt to leave loopback, compiled with this machine's gcc."""
    library = tmp_path_factory.mktemp("watch") / "watch_network.so"
    source = Path(__file__).with_name("watch_network.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def watched(watcher: Path, tmp_path: Path) -> dict[str, str]:
    return {"LD_PRELOAD": str(watcher), "WATCH_NETWORK_LOG": str(tmp_path / "attempts")}


def attempts(watched: dict[str, str]) -> list[str]:
    log = Path(watched["WATCH_NETWORK_LOG"])
    return log.read_text().splitlines() if log.exists() else []


def test_the_watcher_sees_and_stops_an_attempt(watched: dict[str, str]) -> None:
    code = "import socket; socket.socket().connect(('192.0.2.1', 9))"
    result = subprocess.run([sys.executable, "-c", code], env=watched, capture_output=True, text=True, check=False)
    assert "Network is unreachable" in result.stderr
    assert attempts(watched) == ["connect 192.0.2.1"]
    subprocess.run(
        [sys.executable, "-c", "import socket; socket.getaddrinfo('a.invalid', 80)"],
        env=watched,
        check=False,
        stderr=subprocess.DEVNULL,
    )  # noqa: E501
    assert attempts(watched)[-1] == "getaddrinfo a.invalid"


def test_serving_and_scoring_stay_on_loopback(
    serve: Callable[..., AbstractContextManager[str]], watched: dict[str, str]
) -> None:
    with serve(**watched) as url:
        files = [("application", ("application.json", (APPLICATION / "application.json").read_bytes()))]
        files += [
            ("file", (name, (APPLICATION / name).read_bytes())) for name in ("id.jpg", "income.png", "statement.pdf")
        ]
        assert requests.post(f"{url}/v1/score", files=files, timeout=60).status_code == 200
        assert requests.get(f"{url}/metrics", timeout=10).status_code == 200
    assert attempts(watched) == []


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "paddle"])
def test_loading_a_model_on_any_backend_stays_on_loopback(
    edgekit: Path, backend: str, ppocr_v4: Path, watched: dict[str, str], own_state: Path
) -> None:
    command = [
        edgekit,
        "predict",
        "ocr",
        "--models",
        ppocr_v4,
        "--backend",
        backend,
        APPLICATION / "income.png",
        "--json",
    ]
    environment = {**watched, "EDGEKIT_STATE_DIR": str(own_state), "PATH": "/usr/bin:/bin", "HOME": str(own_state)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "收入证明" in result.stdout
    assert attempts(watched) == []


def test_scoring_without_a_server_stays_on_loopback_and_root_leaves_all_that_it_keeps_to_the_service(
    edgekit: Path, bundle: Path, watched: dict[str, str], own_state: Path
) -> None:
    if os.geteuid() == 0:
        os.chown(own_state, NOBODY, NOBODY)
    environment = {**watched, "EDGEKIT_STATE_DIR": str(own_state), "PATH": "/usr/bin:/bin", "HOME": str(own_state)}
    command = [edgekit, "score", "--bundle", bundle, APPLICATION, "--json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert attempts(watched) == []
    kept = [path for name in ("cache", "bundles", "journal") for path in (own_state / name).rglob("*")]
    assert {path.stat().st_uid for path in kept} == {own_state.stat().st_uid}
