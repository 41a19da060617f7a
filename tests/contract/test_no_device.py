"""A backend that names a device which this machine has not says so; it never runs on the CPU instead (ADR 0015)."""

from __future__ import annotations

import pytest

from devices.errors import BackendMismatchError, BackendNotInstalledError
from runtime.predictor import BACKENDS, Backend, ModelFiles, RunOptions, backend_reads, load_predictor
from tests.contract.conftest import ASKED


@pytest.mark.parametrize("backend", sorted(set(BACKENDS) - set(ASKED)))
def test_without_its_device_a_backend_is_refused_by_name(backend: Backend, formats: dict[str, ModelFiles]) -> None:
    files = next(each for each in formats.values() if backend_reads(backend, each))
    with pytest.raises((BackendMismatchError, BackendNotInstalledError)) as refused:
        load_predictor(files, backend, RunOptions())
    assert backend in refused.value.problem or backend in refused.value.remedy
