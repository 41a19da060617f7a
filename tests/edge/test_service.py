"""What of a bundle's settings a profile may change."""

from __future__ import annotations

import pytest

from devices.profile import load_profile
from edge.service import within_profile
from runtime.artifact import OcrSettings


@pytest.mark.parametrize(("of_profile", "side"), [(None, 960), (736, 736), (1280, 960)])
def test_a_profile_may_lower_det_s_side_but_not_raise_it(of_profile: int | None, side: int) -> None:
    serve = load_profile("cpu-generic").serve.model_copy(update={"det_limit_side": of_profile})
    assert within_profile(OcrSettings(det_min_side=640), serve) == OcrSettings(det_limit_side=side, det_min_side=640)
