"""What of a bundle's settings a profile may change, and which upload is which file."""

from __future__ import annotations

import pytest

from devices.errors import RequestError
from devices.profile import load_profile
from edge.bundle.parts import Part
from edge.service import _Loader, name_uploads, within_profile
from runtime.app import UploadedFile
from runtime.artifact import Artifact, ModelEntry, OcrSettings, TextSettings
from runtime.choice import Choice


@pytest.mark.parametrize(("of_profile", "side"), [(None, 960), (736, 736), (1280, 960)])
def test_a_profile_may_lower_det_s_side_but_not_raise_it(of_profile: int | None, side: int) -> None:
    serve = load_profile("cpu-generic").serve.model_copy(update={"det_limit_side": of_profile})
    assert within_profile(OcrSettings(det_min_side=640), serve) == OcrSettings(det_limit_side=side, det_min_side=640)


@pytest.mark.parametrize("application", [b"", b"[]", b'{"documents": 1}', b"\xff", b"[" * 100_000])
def test_an_application_that_is_none_is_left_to_whoever_says_so(application: bytes) -> None:
    assert name_uploads(application, [UploadedFile("scan", "id.jpg", b"x")]) == {"id.jpg": b"x"}


@pytest.mark.parametrize(
    ("filename", "name"), [("id.jpg", "id.jpg"), ("IMG_1.jpg", "scan"), ("", "scan")], ids=["both", "field", "no file"]
)
def test_an_upload_is_the_file_that_the_application_calls_so(filename: str, name: str) -> None:
    application = b'{"documents": [{"file": "id.jpg"}, {"file": "scan"}]}'
    upload = UploadedFile("scan", filename, b"x")
    assert name_uploads(application, [upload]) == {name: b"x"}
    with pytest.raises(RequestError, match=name):
        name_uploads(application, [upload, UploadedFile(name, name, b"y")])


@pytest.mark.parametrize(("kind", "few"), [("model", False), ("text", True)])
def test_little_is_kept_prepared_for_a_model_whose_shapes_nobody_knows(
    kind: str, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph has another size for every applicant; what an engine prepares for each would stay for ever."""
    told = []
    monkeypatch.setattr("edge.service.choose_backend", lambda *given, **_: told.append(given[4]) or Choice(Named(), []))
    entry = ModelEntry(name="one")
    settings = TextSettings(labels=("a", "b"), multi_label=False) if kind == "text" else None
    part = Part("one", {"model.onnx": b"x"}, Artifact(kind=kind, profile="p", models=(entry,), text=settings))
    _Loader(load_profile("cpu-generic"), ("openvino",), models=1).load([(part, entry)])
    assert [options.few_shapes for options in told] == [few]


class Named:
    """A predictor in name only."""

    name = "one"
