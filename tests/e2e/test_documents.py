"""Blocks of commands in README and docs are pasted into a shell, as a reader would; those that are not are counted.

What a reader has is there under the same name: artifacts, a policy, a decision in the journal.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.docs.blocks import ROOT, Block, every_block
from tests.e2e.conftest import EDGEKIT, DemoRun

# tests of its own run that page's commands: they train a model each
RUN_ELSEWHERE = {"any-model.md": "tests/e2e/test_any_model.py"}
SAME_COMMANDS = "README.zh.md"  # as README.md's: tests/docs/test_readme.py
RUN = [block for block in every_block() if not block.why and block.page not in {*RUN_ELSEWHERE, SAME_COMMANDS}]

Paste = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def paste(demo: DemoRun, tmp_path_factory: pytest.TempPathFactory) -> Paste:
    """Runs a block in a directory in which everything is that a reader has, with a state in which one was decided."""
    desk = tmp_path_factory.mktemp("desk")
    for name, folder in {"ocr": "ocr", "text": "text-risk", "behaviour": "behaviour", "YOUR_OCR": "ocr"}.items():
        shutil.copytree(demo.bundle / folder, desk / name)
    shutil.copy(ROOT / "examples" / "policy.toml", desk)
    (desk / "examples").symlink_to(ROOT / "examples")
    (desk / "APPLICATION_DIR").symlink_to(ROOT / "examples" / "application")
    profile = json.loads((demo.bundle / "manifest.json").read_text(encoding="utf-8"))["profile"]
    environment = {
        **os.environ,
        "EDGEKIT_STATE_DIR": str(tmp_path_factory.mktemp("desk-state")),
        "PATH": f"{EDGEKIT.parent}:{os.environ['PATH']}",
    }
    ours = {"cpu-avx512-vnni": profile, "/srv/": f"{desk}/srv/", "/media/": f"{desk}/media/", "--out DIR": "--out ."}

    def run(text: str) -> subprocess.CompletedProcess[str]:
        if "DECISION_ID" in text:  # one of its own: a page may erase it
            receipt = json.loads(bash(f"edgekit score --json --bundle {demo.bundle} APPLICATION_DIR").stdout)
            text = text.replace("DECISION_ID", receipt["decision_id"])
            ours["1042-7F3KQ9TD"] = receipt["offline"]["journal"]
        for theirs, here in ours.items():
            text = text.replace(theirs, here)
        return bash(text)

    def bash(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=desk,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    run(f"edgekit bundle trust {demo.public_key}")
    run("true DECISION_ID")
    ours["HEX"] = json.loads(run("edgekit journal stats --json").stdout)["public_key"]
    return run


@pytest.mark.parametrize("block", RUN, ids=str)
def test_a_block_of_commands_does_what_its_page_says(block: Block, paste: Paste) -> None:
    result = paste(block.text)
    assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"


def test_a_block_that_fails_is_seen(paste: Paste) -> None:
    assert paste("edgekit replay 00000000-0000-4000-8000-000000000000\ntrue\n").returncode != 0
    assert paste("false | true").returncode != 0


def test_pages_whose_commands_run_elsewhere_are_named_by_those_tests() -> None:
    for page, test in RUN_ELSEWHERE.items():
        if (ROOT / "docs" / page).is_file():
            assert re.search(re.escape(page.removesuffix(".md")), (ROOT / test).read_text(encoding="utf-8"))
