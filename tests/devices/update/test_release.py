"""Documents by a newer kit than the device's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.errors import UpdateContentError
from devices.update.release import Blob, BundlePart, Release, read_release

MANIFEST = Blob(sha256="0" * 64, size=1)
SIGNED = ("manifest.json", "manifest.sig")
RELEASE = Release(
    name="loans",
    sequence=7,
    version="1",
    profiles=("cpu-generic",),
    arch="x86_64",
    created=datetime(2026, 1, 2, tzinfo=UTC),
    bundle=BundlePart(
        name="loans", version="1", manifest_sha256=MANIFEST.sha256, keys=("PEM",), files=dict.fromkeys(SIGNED, MANIFEST)
    ),
)


def changed(**keys: object) -> bytes:
    return json.dumps(json.loads(RELEASE.to_bytes()) | keys).encode()


def test_what_a_newer_kit_says_besides_is_passed_over() -> None:
    assert read_release(changed(notes_of_a_later_kit="more"), RELEASE.path) == RELEASE


def test_a_document_that_an_older_device_must_not_pass_over_is_refused() -> None:
    with pytest.raises(UpdateContentError, match="schema_version"):
        read_release(changed(schema_version=2), RELEASE.path)


def test_a_release_under_another_name_is_refused() -> None:
    with pytest.raises(UpdateContentError, match="holds the release"):
        read_release(RELEASE.to_bytes(), str(Path(RELEASE.path).with_name("other-1.json")))
