"""Which version an advisory names is decided as OSV's schema says, and pip-audit's questions are answered so."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from requirements.advisories import matching, names, read_advisories

RANGES = {
    "fixed": [{"introduced": "0"}, {"fixed": "2.0"}],
    "last": [{"introduced": "1.0"}, {"last_affected": "1.5"}],
    "twice": [{"fixed": "1.2"}, {"introduced": "3.0"}, {"introduced": "1.0"}, {"fixed": "3.1"}],
    "again": [{"introduced": "2.0"}, {"fixed": "2.0"}, {"introduced": "1.0"}],
    "open": [{"introduced": "2.0rc1"}],
}


@pytest.mark.parametrize(
    ("events", "version", "named"),
    [
        ("fixed", "0.1", True),
        ("fixed", "1.10", True),  # not by letters: 1.10 comes after 1.9
        ("fixed", "2.0rc1", True),
        ("fixed", "2.0", False),
        ("last", "0.9", False),
        ("last", "1.5", True),
        ("last", "1.5.1", False),
        ("twice", "1.1", True),
        ("twice", "1.2", False),
        ("twice", "3.0.9", True),
        ("twice", "3.1", False),
        ("again", "2.0", True),
        ("open", "1.9", False),
        ("open", "9", True),
    ],
)
def test_a_version_is_named_if_it_lies_within_a_range(events: str, version: str, named: bool) -> None:
    affected = {"ranges": [{"type": "ECOSYSTEM", "events": RANGES[events]}]}
    assert names(affected, version) is named


def test_a_version_in_the_list_is_named_and_commits_say_nothing() -> None:
    affected = {"versions": ["1.0.post1"], "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}
    assert names(affected, "1.0.post1")
    assert not names(affected, "1.1")


def record(package: str, ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    affected = {"package": {"name": package, "ecosystem": ecosystem}, "versions": ["1.0"]}
    return {"id": "PYSEC-0000-1", "modified": "2026-01-02T03:04:05Z", "affected": [affected], **more}


def test_records_are_found_by_the_packages_name_however_it_is_spelt(tmp_path: Path) -> None:
    file = tmp_path / "all.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("PYSEC-0000-1.json", json.dumps(record("Some_Package")))
        archive.writestr("GO-1.json", json.dumps(record("other", "Go", modified="2026-05-02T03:04:05Z")))
        archive.writestr("README.md", "not a record")
    advisories, newest = read_advisories(file)
    assert newest == "2026-05-02"
    assert [each["id"] for each in matching(advisories, "some-package", "1.0")] == ["PYSEC-0000-1"]
    assert matching(advisories, "some-package", "1.1") == []
    assert matching(advisories, "other", "1.0") == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", None, {"a.json": "{}"}, {"a.json": "["}, {}])
def test_a_file_that_holds_no_advisories_is_no_clean_result(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "all.zip"
    if isinstance(content, dict):
        with zipfile.ZipFile(file, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit, match="Nothing was audited"):
        read_advisories(file)
