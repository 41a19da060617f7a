"""Naming a benchmark, and the document that they fill in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, chosen, main
from benchmarks.harness import DOCUMENT
from devices.errors import UsageError

ROOT = Path(__file__).parent.parent.parent


def test_without_a_name_all_run_and_a_name_twice_runs_once() -> None:
    assert chosen([]) == NAMES
    assert chosen(["compress", "compress"]) == ("compress",)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        chosen(["compres"])
    assert "There is no benchmark 'compres'." in str(caught.value)
    assert "Did you mean 'compress'?" in str(caught.value)


def test_an_unknown_name_ends_as_wrong_usage_and_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compress", "nothing"]) == UsageError.exit_code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "There is no benchmark 'nothing'." in captured.err


def test_every_benchmark_has_its_section_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in NAMES:
        assert f"<!-- {name} -->" in text
        assert f"<!-- /{name} -->" in text


def test_listing_names_loads_no_engine() -> None:
    code = "import sys, benchmarks.__main__; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"paddle", "openvino", "onnxruntime"} & set(result.stdout.split())
