"""The demonstration, run once for all tests here; its stages are kept between runs by the content of their inputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.bundle.keys import signing_key
from tests.e2e.hostile import Watched
from tests.e2e.hostile import serving as serving_watched

ROOT = Path(__file__).parents[2]
EDGEKIT = Path(sys.executable).with_name("edgekit")
DEMO_SECONDS = 900


@dataclass(frozen=True)
class DemoRun:
    """What one run of the demonstration printed and left behind."""

    printed: str
    out: Path
    public_key: Path

    @property
    def bundle(self) -> Path:
        return self.out / "bundle"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """``python -m examples.demo`` with this machine's state directory, as a newcomer runs it."""
    out = tmp_path_factory.mktemp("demo-out")
    result = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    key = out / "key.pem"
    key.write_bytes(signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return DemoRun(result.stdout, out, key)


@pytest.fixture(scope="session")
def edgekit() -> Path:
    """The command as installed."""
    return EDGEKIT


@pytest.fixture
def bundle(demo: DemoRun, own_state: Path) -> Path:
    """The demonstration's bundle, trusted in this test's own state directory."""
    subprocess.run([EDGEKIT, "bundle", "trust", demo.public_key], check=True, capture_output=True)
    return demo.bundle


@contextmanager
def serving(bundle: Path, **environment: str) -> Iterator[str]:
    """``edgekit serve`` on a free port; yields its URL, then stops it and wants a clean end."""
    process = subprocess.Popen(
        [EDGEKIT, "serve", "--bundle", bundle, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.stdout.close()
        assert process.wait(timeout=30) == 0


@pytest.fixture
def serve(bundle: Path) -> Callable[..., AbstractContextManager[str]]:
    """Serve the bundle, with these environment variables as well."""
    return partial(serving, bundle)


@pytest.fixture
def url(bundle: Path) -> Iterator[str]:
    with serving(bundle) as address:
        yield address


@pytest.fixture(scope="session")
def steady(demo: DemoRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One server for all the tests that throw something at it and want it to go on as before."""
    state = tmp_path_factory.mktemp("steady")
    environment = {**os.environ, "EDGEKIT_STATE_DIR": str(state)}
    subprocess.run([EDGEKIT, "bundle", "trust", demo.public_key], env=environment, check=True, capture_output=True)
    with serving_watched(demo.bundle, state) as (watched, _):
        yield watched
