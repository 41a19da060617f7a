"""Naming a benchmark, and the document that they fill in."""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as bench
from benchmarks import harness, history
from benchmarks.__main__ import NAMES, PARTS, chosen, main
from benchmarks.harness import DOCUMENT, Figure, Measure, Report, Row
from devices.errors import UsageError

ROOT = Path(__file__).parent.parent.parent


def test_without_a_name_all_run_and_a_name_twice_runs_once() -> None:
    assert chosen([]) == PARTS
    assert chosen(["compress", "compress"]) == {"compress": PARTS["compress"]}


def test_parts_run_in_their_own_order_and_with_the_whole_they_run_once() -> None:
    assert chosen(["runtime/serving", "fleet", "runtime/ocr"]) == {"runtime": ("ocr", "serving"), "fleet": ()}
    assert chosen(["runtime/ocr", "runtime"]) == {"runtime": PARTS["runtime"]}


def test_an_unknown_part_says_which_there_are() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'runtime/serving'\?"):
        chosen(["runtime/servin"])


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
        if PARTS.get(name):
            continue  # its parts have one each
        assert f"<!-- {name} -->" in text
        assert f"<!-- /{name} -->" in text


def test_listing_names_loads_no_engine() -> None:
    code = "import sys, benchmarks.__main__; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"paddle", "openvino", "onnxruntime"} & set(result.stdout.split())


@pytest.mark.parametrize("name", [name for name, parts in PARTS.items() if parts])
def test_the_parts_that_are_named_are_those_that_can_be_measured(name: str) -> None:
    assert tuple(importlib.import_module(f"benchmarks.{name}").MEASURES) == PARTS[name]


class Pretended:
    """A benchmark of two parts, each of one row: how many runs the history knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.MEASURES = {part: self.measure(part) for part in ("one", "two")}

    def measure(self, part: str) -> Measure:
        runs = len(list(self.folder.glob("history/try/*")))

        def measured(report: Report, scratch: Path, progress: harness.Progress) -> None:
            report.details[part] = runs
            report.add(Row(part, Figure.exact(float(runs))))

        return measured


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A benchmark ``try`` can be run, and writes results, history and page below a folder."""
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- try/{part} -->\nold\n<!-- /try/{part} -->\n" for part in ("one", "two")))
    monkeypatch.setitem(PARTS, "try", ("one", "two"))
    monkeypatch.setattr(importlib, "import_module", lambda name: {"benchmarks.try": Pretended(tmp_path)}[name])
    monkeypatch.setattr(bench, "Report", partial(Report, results=tmp_path))
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "DOCUMENT", page)
    monkeypatch.setattr(bench, "update_document", partial(harness.update_document, path=page))
    monkeypatch.setattr(history, "earlier", partial(history.earlier, folder=tmp_path / "history"))
    monkeypatch.setattr(history, "keep", partial(history.keep, folder=tmp_path / "history"))
    return tmp_path


def test_a_part_alone_leaves_the_other_rows_and_their_section_as_they_were(pretended: Path) -> None:
    console = Console(file=io.StringIO())
    bench.run("try", ("one", "two"), console)
    bench.run("try", ("two",), console)
    document = json.loads((pretended / "try.json").read_text(encoding="utf-8"))
    assert [(row["part"], row["what"], row["figure"]["value"]) for row in document["rows"]] == [
        ("one", "one", 0.0),
        ("two", "two", 1.0),
    ]
    assert document["rows"][1]["change"] == "was 0"
    assert document["details"] == {"one": 0, "two": 1}
    first, second = (pretended / "page.md").read_text(encoding="utf-8").split("<!-- /try/one -->")
    assert "| one | 0 |  |  |  |" in first
    assert "| two |" not in first
    assert "| two | 1 |  |  | ▁█ was 0 |" in second
    assert history.earlier("try", harness.machine_class()) == {"one": [0.0], "two": [0.0, 1.0]}
