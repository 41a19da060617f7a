from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.errors import ApplicationError, BundleError
from edge.bundle.sample import sample_of
from edge.bundle.verify import verify_bundle

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def application(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "application", tmp_path / "application"))


def test_a_sample_travels_with_its_papers_and_nothing_else(
    build: Callable[..., Path], artifact: Path, trusted: dict, application: Path, tmp_path: Path
) -> None:
    (application / "note.txt").write_text("not named by application.json", encoding="utf-8")
    bundle = verify_bundle(build(tmp_path / "bundle", [artifact], sample=application), trusted)
    sample = sample_of(bundle)
    assert sample is not None
    assert sample.application == (application / "application.json").read_bytes()
    named = {each["file"] for each in json.loads(sample.application)["documents"]}
    assert named
    assert {name: (application / name).read_bytes() for name in named} == sample.files


def test_a_bundle_without_a_sample_has_none(
    build: Callable[..., Path], artifact: Path, trusted: dict, tmp_path: Path
) -> None:
    assert sample_of(verify_bundle(build(tmp_path / "bundle", [artifact]), trusted)) is None


def test_a_sample_that_lacks_a_paper_is_refused(
    build: Callable[..., Path], artifact: Path, application: Path, tmp_path: Path
) -> None:
    (application / "id.jpg").unlink()
    with pytest.raises(ApplicationError, match="missing beside"):
        build(tmp_path / "bundle", [artifact], sample=application)
    assert not (tmp_path / "bundle").exists()


def test_a_sample_whose_file_no_manifest_can_name_is_refused(
    build: Callable[..., Path], artifact: Path, application: Path, tmp_path: Path
) -> None:
    document = json.loads((application / "application.json").read_text(encoding="utf-8"))
    document["documents"][0]["file"] = "身份证.jpg"
    (application / "id.jpg").rename(application / "身份证.jpg")
    (application / "application.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(BundleError, match="身份证"):
        build(tmp_path / "bundle", [artifact], sample=application)
