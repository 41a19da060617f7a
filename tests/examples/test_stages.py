"""What a stage of the demonstration is kept by: all that makes a model, and nothing that only serves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import stages
from examples.demo import Demo

ROOT = Path(__file__).parents[2]


def test_what_makes_models_counts_and_what_only_serves_or_installs_does_not() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in stages.sources(ROOT)}
    assert {
        "compress/quantize.py",
        "runtime/predictor.py",
        "runtime/backends/openvino.py",
        "devices/profile.py",
    } <= found
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "compress").rglob("*.py")} <= found
    assert not {"runtime/server.py", "runtime/supervisor.py", "devices/provision/install.py", "edge/review.py"} & found


def test_imports_are_followed_through_packages_and_functions(tmp_path: Path) -> None:
    files = {
        "compress/__init__.py": "",
        "compress/a.py": "def later():\n    from runtime.deep import inner\n",
        "edge/__init__.py": "",
        "compress/inner/b.py": "import devices.c\nimport runtime.plain\n",
        "edge/other.py": "",
        "runtime/__init__.py": "",
        "runtime/deep/__init__.py": "",
        "runtime/deep/inner.py": "from compress import a\nimport json\n",
        "runtime/plain/__init__.py": "",
        "runtime/unused.py": "",
        "devices/c.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path).as_posix() for path in stages.sources(tmp_path)}
    assert found == set(files) - {"edge/__init__.py", "edge/other.py", "runtime/unused.py"}


def test_a_stage_runs_again_when_its_inputs_change_and_not_before(tmp_path: Path) -> None:
    built: list[str] = []

    def build(out: Path) -> None:
        built.append(out.name)
        (out / "result").write_text("made")

    (tmp_path / "input").write_text("one")
    first, kept = stages.cached("stage", [tmp_path / "input", "text"], build)
    assert not kept
    assert stages.cached("stage", [tmp_path / "input", "text"], build) == (first, True)
    (tmp_path / "input").write_text("two")
    assert stages.cached("stage", [tmp_path / "input", "text"], build)[0] != first
    assert stages.cached("stage", [tmp_path / "input", "other"], build)[0] != first
    assert len(built) == 3


def test_of_two_runs_that_make_the_same_at_once_one_is_kept_and_both_have_it() -> None:
    def first(out: Path) -> None:
        (out / "result").write_text("first")

    def second(out: Path) -> None:
        stages.cached("stage", ["x"], first)
        (out / "result").write_text("second")

    made, _ = stages.cached("stage", ["x"], second)
    assert (made / "result").read_text() == "first"
    assert len(list(made.parent.iterdir())) == 1


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        (out / "half").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        stages.cached("stage", ["x"], fail)
    made, kept = stages.cached("stage", ["x"], lambda out: (out / "whole").touch())
    assert not kept
    assert [path.name for path in made.iterdir()] == ["whole"]


def test_what_a_killed_run_began_is_removed_and_what_another_still_builds_is_not(own_state: Path) -> None:
    cache = own_state / "cache" / "demo"
    (cache / ".ernie-killed" / "ernie").mkdir(parents=True)

    def build_another(out: Path) -> None:
        building = out.parent
        stages.cached("inner", ["b"], lambda _: None)
        assert building.is_dir()

    stages.cached("outer", ["a"], build_another)
    assert list(cache.glob(".*")) == []
    assert len(list(cache.iterdir())) == 2


def test_a_demonstration_makes_its_directory_whoever_starts_it(tmp_path: Path) -> None:
    assert Demo(tmp_path / "demo-out").out.is_dir()
