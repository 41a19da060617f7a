"""Which backend serves: golden outputs decide, INT8 needs the right processor, engines are built behind another."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

import runtime.choice
from devices.errors import BackendError, BackendMismatchError, ParityError
from runtime.artifact import ModelEntry
from runtime.choice import Golden, check_parity, choose_backend
from runtime.predictor import Backend, ModelFiles, RunOptions, ShapeRange, TensorSpec

FILES = ModelFiles("m", "onnx", b"graph")
GOLDEN = Golden({"x": np.zeros((1, 3), np.float32)}, {"logits": np.array([[0, 1, 0]], np.float32)})
ENTRY = ModelEntry(name="m", tolerance=0.2)


@dataclass
class Fixed:
    """Gives the same outputs whatever it is fed."""

    logits: NDArray[np.float32]
    name: str = "m"
    backend: Backend = "openvino"
    precision: str = "fp32"
    sha256: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    dropped: int = 0

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {"logits": self.logits}

    def drop_caches(self) -> None:
        self.dropped += 1


@dataclass
class Machine:
    """Backends as a machine might have them: how far each drifts, which are missing, which take until told."""

    drift: dict[str, float] = field(default_factory=dict)  # by backend, or by "backend fp16"
    missing: tuple[Backend, ...] = ()
    engine_may_finish: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[Backend, RunOptions]] = field(default_factory=list)

    def load(self, files: ModelFiles, backend: Backend, options: RunOptions) -> Fixed:
        self.asked.append((backend, options))
        if backend in self.missing:
            raise BackendMismatchError(f"Backend {backend} is not here.")
        if backend.endswith(("tensorrt", "rtx")):
            assert self.engine_may_finish.wait(10)
        drift = self.drift.get(f"{backend} fp16" if options.fp16 else backend, 0.0)
        return Fixed(GOLDEN.outputs["logits"] + np.float32(drift), backend=backend, precision=files.precision)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine()
    monkeypatch.setattr(runtime.choice, "load_predictor", fake.load)
    return fake


def choose(*order: Backend, entry: ModelEntry = ENTRY, options: RunOptions | None = None, full_int8: bool = True):
    return choose_backend(FILES, entry, GOLDEN, order, options or RunOptions(), full_int8=full_int8)


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)], ids=["texts", "tokens"])
def test_drift_and_flips_are_found_in_every_row(shape: tuple[int, ...]) -> None:
    expected = np.zeros(shape, np.float32)
    expected[..., 1] = 1.0
    golden = Golden({"input_ids": np.zeros(shape[:2], np.int64)}, {"logits": expected})
    check_parity(Fixed(expected + 0.1), golden, tolerance=0.2)
    last = (-1,) * (len(shape) - 1)
    drifted = expected.copy()
    drifted[(*last, 0)] = 0.3
    with pytest.raises(ParityError, match="differ from the golden ones by 0.3"):
        check_parity(Fixed(drifted), golden, tolerance=0.2)
    flipped = expected.copy()
    flipped[(*last, 0)], flipped[(*last, 1)] = 0.6, 0.5
    with pytest.raises(ParityError, match="of the golden rows differently"):
        check_parity(Fixed(flipped), golden, tolerance=0.7)
    check_parity(Fixed(flipped), golden, tolerance=0.7, flips=0.5)
    with pytest.raises(ParityError, match="another shape"):
        check_parity(Fixed(expected[:1]), golden, tolerance=0.2)
    with pytest.raises(ParityError, match="by nan"):
        check_parity(Fixed(expected * np.nan), golden, tolerance=0.2)


def test_a_map_is_judged_by_its_regions() -> None:
    expected = np.zeros((1, 1, 10, 10), np.float32)
    expected[0, 0, 2:8, 2:8] = 0.9
    golden = Golden({"x": expected}, {"logits": expected})
    smaller = expected.copy()
    smaller[0, 0, 2:4] = 0.1
    check_parity(Fixed(smaller), golden, tolerance=0.85, decides="regions", flips=0.4)
    with pytest.raises(ParityError, match="33.33% of the golden regions differently; 10.00% may be"):
        check_parity(Fixed(smaller), golden, tolerance=0.85, decides="regions", flips=0.1)


def test_the_first_of_the_order_that_proves_itself_serves_and_the_others_are_told(machine: Machine) -> None:
    machine.missing, machine.drift = ("onnxruntime:cuda",), {"openvino": 0.5}
    choice = choose("onnxruntime:cuda", "paddle", "openvino", "onnxruntime")
    assert choice.predictor.backend == "onnxruntime"
    assert choice.passed_over == [
        "Backend onnxruntime:cuda is not here.",
        "paddle does not read the format of m (onnx)",
        "The outputs of openvino on m differ from the golden ones by 0.5; 0.2 is allowed.",
    ]


def test_where_none_serves_the_error_says_what_each_one_lacked(machine: Machine) -> None:
    machine.missing, machine.drift = ("onnxruntime:cuda",), {"openvino": 0.5}
    with pytest.raises(BackendError, match=r"can serve m: Backend onnxruntime:cuda is not here; The outputs of openv"):
        choose("onnxruntime:cuda", "openvino")


@pytest.mark.parametrize(
    ("precision", "reduce_range", "full_int8", "backend", "serves"),
    [
        ("int8", False, False, "openvino", False),
        ("int8", False, False, "onnxruntime", False),
        ("int8+bf16", False, False, "openvino", False),
        ("int8", True, False, "openvino", True),
        ("int8", False, True, "openvino", True),
        ("fp32", False, False, "openvino", True),
        ("int8", False, False, "onnxruntime:cuda", True),  # the GPU's products do not saturate
    ],
)
def test_int8_of_full_range_is_never_chosen_on_a_processor_without_vnni(
    machine: Machine, precision, reduce_range: bool, full_int8: bool, backend: Backend, serves: bool
) -> None:
    entry = ModelEntry(name="m", precision=precision, reduce_range=reduce_range)
    if serves:
        assert choose(backend, entry=entry, full_int8=full_int8).predictor.backend == backend
        return
    with pytest.raises(BackendError, match="no VNNI"):
        choose(backend, entry=entry, full_int8=full_int8)
    assert machine.asked == []


def test_fp16_is_tried_first_and_fp32_where_it_drifts(machine: Machine) -> None:
    options = RunOptions(fp16=True)
    assert choose("openvino:gpu", options=options).predictor.precision == "fp16"
    machine.drift = {"openvino:gpu fp16": 0.5}
    choice = choose("openvino:gpu", "openvino", options=options)
    assert (choice.predictor.backend, choice.predictor.precision) == ("openvino:gpu", "fp32")
    assert len(choice.passed_over) == 1
    assert [asked.fp16 for _, asked in machine.asked] == [True, True, False]
    assert choose("openvino", options=options).predictor.precision == "fp32"  # the CPU knows no FP16


def test_an_engine_is_built_while_another_backend_serves_and_takes_over_when_proven(machine: Machine) -> None:
    shapes = {"x": ShapeRange((1, 3), (1, 3), (4, 3))}
    choice = choose("onnxruntime:tensorrt", "onnxruntime", options=RunOptions(shapes=shapes))
    assert choice.predictor.backend == "onnxruntime"
    np.testing.assert_array_equal(choice.predictor.run(GOLDEN.inputs)["logits"], GOLDEN.outputs["logits"])
    assert choice.passed_over == [
        "An engine for m is being prepared with onnxruntime:tensorrt; until then onnxruntime serves."
    ]
    machine.drift = {"onnxruntime:tensorrt": 0.125}  # within the tolerance, and to be told apart by it
    machine.engine_may_finish.set()
    choice.predictor.settle(10)
    assert choice.predictor.backend == "onnxruntime:tensorrt"
    assert choice.passed_over == []
    np.testing.assert_array_equal(choice.predictor.run(GOLDEN.inputs)["logits"], GOLDEN.outputs["logits"] + 0.125)
    beyond = {"x": np.zeros((5, 3), np.float32)}  # no engine was built for five rows
    np.testing.assert_array_equal(choice.predictor.run(beyond)["logits"], GOLDEN.outputs["logits"])


def test_an_engine_that_drifts_or_cannot_be_built_never_serves(machine: Machine) -> None:
    machine.drift, machine.missing = {"onnxruntime:tensorrt": 0.5}, ("onnxruntime:tensorrt-rtx",)
    machine.engine_may_finish.set()
    choice = choose("onnxruntime:tensorrt-rtx", "onnxruntime:tensorrt", "onnxruntime")
    choice.predictor.settle(10)
    assert choice.predictor.backend == "onnxruntime"
    assert choice.passed_over == [
        "Backend onnxruntime:tensorrt-rtx is not here.",
        "The outputs of onnxruntime:tensorrt on m differ from the golden ones by 0.5; 0.2 is allowed.",
    ]


def test_an_engine_is_waited_for_where_nothing_else_serves(machine: Machine) -> None:
    machine.engine_may_finish.set()
    machine.missing = ("onnxruntime",)
    choice = choose("onnxruntime:tensorrt", "onnxruntime")
    assert choice.predictor.backend == "onnxruntime:tensorrt"


def test_caches_of_both_are_dropped(machine: Machine) -> None:
    machine.engine_may_finish.set()
    predictor = choose("onnxruntime:tensorrt", "onnxruntime").predictor
    predictor.settle(10)
    predictor.drop_caches()
    assert (predictor._stand_in.dropped, predictor._wanted.dropped) == (1, 1)
