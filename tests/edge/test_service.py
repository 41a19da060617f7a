"""What of a bundle's settings a profile may change, and which upload is which file."""

from __future__ import annotations

import pytest

from devices.profile import load_profile
from edge.service import name_uploads, within_profile
from runtime.app import UploadedFile
from runtime.artifact import OcrSettings


@pytest.mark.parametrize(("of_profile", "side"), [(None, 960), (736, 736), (1280, 960)])
def test_a_profile_may_lower_det_s_side_but_not_raise_it(of_profile: int | None, side: int) -> None:
    serve = load_profile("cpu-generic").serve.model_copy(update={"det_limit_side": of_profile})
    assert within_profile(OcrSettings(det_min_side=640), serve) == OcrSettings(det_limit_side=side, det_min_side=640)


@pytest.mark.parametrize("application", [b"", b"[]", b'{"documents": 1}', b"\xff", b"[" * 100_000])
def test_an_application_that_is_none_is_left_to_whoever_says_so(application: bytes) -> None:
    assert name_uploads(application, [UploadedFile("scan", "id.jpg", b"x")]) == {"id.jpg": b"x"}
