"""The tree is drawn truthfully, codes are unique, and operators find each of them in the handbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devices import errors

ROOT = Path(__file__).parents[2]
CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.EdgeKitError)
]


def test_the_drawing_shows_every_class_with_its_code_under_its_parent() -> None:
    drawn: dict[str, tuple[str, str | None]] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"( +)(\w+Error) +([A-Z]+-\d{3})", line):
            indent, name, code = len(match[1]), match[2], match[3]
            while parents and parents[-1][0] >= indent:
                parents.pop()
            drawn[name] = (code, parents[-1][1] if parents else None)
            parents.append((indent, name))
    true = {
        each.__name__: (each.code, each.__bases__[0].__name__ if each is not errors.EdgeKitError else None)
        for each in CLASSES
    }
    assert drawn == true


def test_no_two_classes_share_a_code() -> None:
    assert len({each.code for each in CLASSES}) == len(CLASSES) > 20


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.code)
def test_an_error_says_what_happened_the_state_and_the_remedy(kind: type[errors.EdgeKitError]) -> None:
    error = kind("It happened.")
    assert error.as_dict() == {
        "code": kind.code,
        "problem": "It happened.",
        "state": error.state,
        "remedy": error.remedy,
    }
    assert str(error) == f"It happened. {error.state} {error.remedy} [{kind.code}]"
    assert error.state.endswith(".")
    assert error.remedy.endswith(".")
    assert 1 <= kind.exit_code <= 125
    assert (kind.exit_code == 2) == (kind is errors.UsageError)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.code)
def test_every_code_is_in_the_handbook(kind: type[errors.EdgeKitError]) -> None:
    handbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"| {kind.code} |" in handbook


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.code)
def test_the_handbook_says_the_exit_status_of_a_code(kind: type[errors.EdgeKitError]) -> None:
    handbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert re.findall(rf"^\| {kind.code} \| (\d*) \|", handbook, re.MULTILINE) == [str(kind.exit_code)]
