"""The served bundle as other machines meet it: TLS, tokens, names; and what is not even started."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.runtime.test_tls import write_certificate


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path)


@pytest.fixture
def exposed(edgekit: Path, bundle: Path, certificate: tuple[Path, Path]) -> Iterator[tuple[requests.Session, str]]:
    """A server for other machines, and a session that trusts its certificate."""
    chain, key = certificate
    add = [edgekit, "token", "add", "first"]
    subprocess.run(add, check=True, capture_output=True)  # without one it would not start
    process = subprocess.Popen(
        [edgekit, "serve", "--bundle", bundle, "--host", "0.0.0.0", "--port", "0", "--json"]
        + ["--tls-cert", chain, "--tls-key", key],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        with requests.Session() as session:
            session.trust_env = False  # an authority named in the environment would come first
            session.verify = str(chain)
            yield session, said["url"].replace("0.0.0.0", "localhost")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        process.stdout.close()


def test_another_machine_needs_tls_the_right_name_and_a_token_that_still_counts(
    edgekit: Path, exposed: tuple[requests.Session, str]
) -> None:
    session, url = exposed
    assert url.startswith("https://")
    assert session.get(f"{url}/v2/health/ready", timeout=10).json() == {"ready": True}
    assert session.get(f"{url}/v1/status", timeout=10).status_code == 401

    add = subprocess.run([edgekit, "token", "add", "teller", "--json"], check=True, capture_output=True)
    session.headers["Authorization"] = f"Bearer {json.loads(add.stdout)['token']}"
    status = session.get(f"{url}/v1/status", timeout=10)
    assert status.json()["models"]
    assert "Access-Control-Allow-Origin" not in status.headers
    labels = session.post(f"{url}/v1/text-risk", json={"texts": ["借新还旧"]}, timeout=30)
    assert labels.json()["results"][0]["labels"]["debt_rollover"] > 0.5
    assert session.get(f"{url}/v1/status", headers={"Host": "evil.example"}, timeout=10).status_code == 421
    foreign = session.post(f"{url}/v1/text-risk", json={"texts": ["a"]}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    with pytest.raises(requests.ConnectionError):
        requests.get(url.replace("https", "http"), timeout=10)

    subprocess.run([edgekit, "token", "remove", "teller"], check=True, capture_output=True)
    assert session.get(f"{url}/v1/status", timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("token", "tls", "missing"),
    [(False, False, "no token and no TLS"), (True, False, "no TLS"), (False, True, "no token")],
)
def test_without_token_or_tls_it_does_not_listen_for_other_machines(
    edgekit: Path, tmp_path: Path, certificate: tuple[Path, Path], *, token: bool, tls: bool, missing: str
) -> None:
    if token:
        subprocess.run([edgekit, "token", "add", "teller"], check=True, capture_output=True)
    pair = ["--tls-cert", certificate[0], "--tls-key", certificate[1]] if tls else []
    command = [edgekit, "serve", "--bundle", tmp_path, "--host", "0.0.0.0", "--port", "0", "--json", *pair]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 12
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "ACCESS-002"
    assert missing in error["problem"]
