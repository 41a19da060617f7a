"""The kit as others have it: a wheel in an environment of its own, and the whole way from a bundle to a replay there.

    python -m tests.project.installed PYTHON ...

puts this checkout's wheel into each environment and has it decide the sample application with the demonstration's
bundle; './build.sh versions' names the environments with the oldest and the newest packages that the kit allows.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devices.provision.wheelhouse import _build_kit
from edge.bundle.keys import signing_key
from edge.policy import load_policy

ROOT = Path(__file__).parents[2]
APPLICATION = ROOT / "examples" / "application"
BUNDLE = ROOT / "demo-out" / "bundle"
COMMANDS = ("bundle", "collector", "compress", "device", "journal", "predict", "provision", "replay", "repo", "score")
PAGES = ("/", "/review", "/status")


@dataclass(frozen=True)
class Installed:
    """An environment that holds the kit's wheel, run from outside the checkout with nothing of this process."""

    python: Path
    state: Path

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """``edgekit`` with these arguments."""
        return [self.python, "-I", "-W", "ignore", "-m", "edge.cli", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Only what a service has."""
        return {"PATH": os.environ["PATH"], "EDGEKIT_STATE_DIR": str(self.state), "OMP_NUM_THREADS": "2"}

    def run(self, *arguments: str | Path) -> str:
        """What ``edgekit`` prints with these arguments."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"edgekit {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def asked(self, *arguments: str | Path) -> dict[str, Any]:
        """The document that a command answers with ``--json``."""
        document: dict[str, Any] = json.loads(self.run(*arguments, "--json"))
        return document

    @contextmanager
    def serving(self, bundle: Path) -> Iterator[str]:
        """``edgekit serve`` on a free port; yields its URL and wants a clean end."""
        process = subprocess.Popen(
            self.command("serve", "--bundle", bundle, "--port", "0", "--json"),
            env=self.environment,
            cwd="/",
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def put_wheel(wheel: Path, python: Path) -> None:
    """Install the kit's wheel, with nothing that it needs, for ``python``."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--force-reinstall", "--find-links", "", str(wheel)], check=True)


def check_pages(url: str) -> int:
    """Get the kiosk's, the reviewer's and the status page with every file that they name; returns how many."""
    seen: set[str] = set()
    waiting = list(PAGES)
    while waiting:
        address = waiting.pop()
        seen.add(address)
        answer = requests.get(f"{url}{address}", timeout=30)
        assert answer.status_code == 200, address
        assert len(answer.content) > 100, address
        waiting += set(re.findall(r'"(/pages/[a-z0-9-]+\.\w+)"', answer.text)) - seen - set(waiting)
    assert {"/pages/kiosk.js", "/pages/style.css", "/pages/words-zh.js"} <= seen
    return len(seen)


def check_kit(kit: Installed, bundle: Path, public_key: Path) -> dict[str, Any]:
    """The way from a bundle to a decision and its replay; returns the receipt.

    Each package of the serving set has something to do in it.
    """
    assert all(name in kit.run("--help") for name in COMMANDS)
    for name in COMMANDS:
        assert "Usage: edgekit" in kit.run(name, "--help")
    kit.run("device", "match")  # a person's table
    kit.run("bundle", "trust", public_key)
    assert kit.asked("bundle", "verify", bundle)
    with kit.serving(bundle) as url:
        assert requests.get(f"{url}/v2/health/ready", timeout=30).json() == {"ready": True}
        check_pages(url)
        texts = requests.post(f"{url}/v1/text-risk", json={"texts": ["借新还旧", "买一台冰箱"]}, timeout=60)
        assert len(texts.json()["results"]) == 2
        names = ("application.json", "id.jpg", "income.png", "statement.pdf")
        form = [
            ("application" if name == names[0] else "file", (name, (APPLICATION / name).read_bytes())) for name in names
        ]
        receipt: dict[str, Any] = requests.post(f"{url}/v1/score", files=form, timeout=120).json()
        assert receipt.get("application_id") == "A-001", receipt
        assert "edgekit_" in requests.get(f"{url}/metrics", timeout=30).text
        assert requests.get(f"{url}/openapi.json", timeout=30).json()["paths"]
    assert kit.asked("journal", "verify")["entries"] >= 1
    assert kit.asked("replay", receipt["decision_id"])
    other = kit.asked("score", "--bundle", bundle, "--backend", "onnxruntime", APPLICATION)
    assert {model["backend"] for model in other["models"]} == {"onnxruntime"}
    keys, repo = kit.state / "repo-keys", kit.state / "repo"
    kit.run("repo", "init", repo, "--keys", keys)
    kit.run("repo", "delegate", repo, "north", "--keys", keys)
    return receipt


def main(pythons: list[str]) -> None:
    """Try the wheel in each environment, and hold the receipts against this checkout's."""
    steepest = load_policy(BUNDLE / "policy.toml").calibration.steepest
    with TemporaryDirectory() as folder:
        place = Path(folder)
        _build_kit(place)
        (wheel,) = place.glob("*.whl")
        key = place / "key.pem"
        key.write_bytes(signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        here = Installed(Path(sys.executable), place / "here")
        here.run("bundle", "trust", key)
        wanted = here.asked("score", "--bundle", BUNDLE, APPLICATION)
        for number, python in enumerate(Path(each).absolute() for each in pythons):
            started = time.monotonic()
            put_wheel(wheel, python)
            got = check_kit(Installed(python, place / str(number)), BUNDLE, key)
            assert abs(got["score"] - wanted["score"]) <= steepest, (got["score"], wanted["score"])
            assert (got["decision"], got["risk_level"]) == (wanted["decision"], wanted["risk_level"])
            took = time.monotonic() - started
            sys.stderr.write(f"{python.parts[-3]}: score {got['score']}, here {wanted['score']}; {took:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
