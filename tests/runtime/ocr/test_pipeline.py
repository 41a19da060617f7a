"""Reading pictures through real PP-OCR models, and what holds whatever the models are."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.export import to_onnx
from devices.errors import DeadlineError, ModelError
from runtime.artifact import OcrSettings
from runtime.budget import Budget
from runtime.images import load_image, load_pages
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import OcrPipeline, assemble, load_ocr
from runtime.ocr.preprocess import line_tensor
from runtime.predictor import Backend, RunOptions, TensorSpec

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
PICTURES = EXAMPLES / "ocr" / "evaluation"  # invented and drawn by examples/ocr/draw.py


@dataclass
class Scripted:
    """A predictor whose answer is computed by a function."""

    name: str
    answer: object
    backend: Backend = "onnxruntime"
    precision: str = "fp32"
    sha256: str = ""
    inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "float32", (None, 3, None, None)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("y", "float32", ()),)

    def run(self, feeds):
        return {"y": self.answer(feeds["x"]).astype(np.float32)}


def dark_is_text(tensor: np.ndarray) -> np.ndarray:
    return (tensor[:, :1] < 0) * 0.9


def reads(text_class: int):
    def answer(tensor: np.ndarray) -> np.ndarray:
        out = np.full((tensor.shape[0], tensor.shape[3] // 8, 4), 0.05)
        out[:, :, 0] = 0.85
        out[:, 1] = 0.02
        out[:, 1, text_class] = 0.94
        return out

    return answer


def scripted(turned: float = 0.0, **changes: float) -> OcrPipeline:
    """Finds dark bars, reads each as 'a', and thinks with probability ``turned`` that it stands on its head."""
    cls = Scripted("ocr-cls", lambda tensor: np.tile([1 - turned, turned], (tensor.shape[0], 1)))
    chosen = OcrSettings(**changes)
    return assemble(Scripted("ocr-det", dark_is_text), Scripted("ocr-rec", reads(1)), cls, ("a", "b", "c"), chosen)


def test_tensors_are_made_one_batch_ahead_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = [], []

    def noted(*arguments, **named):
        made.append(threading.current_thread())
        return line_tensor(*arguments, **named)

    def rec(tensor: np.ndarray) -> np.ndarray:
        end = time.monotonic() + 10
        while len(made) < min(len(seen) + 2, 6) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(0.02)  # more than enough for one too many
        seen.append(len(made))
        return reads(1)(tensor)

    monkeypatch.setattr("runtime.ocr.pipeline.line_tensor", noted)
    pipeline = replace(scripted(), rec=Scripted("ocr-rec", rec))
    crops = [np.zeros((48, width, 3), np.uint8) for width in (3000, 2000, 1000, 500, 200, 50)]
    assert [text for text, _ in pipeline.recognize(crops)] == ["a"] * 6
    assert seen == [2, 3, 4, 5, 6, 6]
    assert threading.current_thread() not in made


def test_what_fails_beside_rec_fails_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.ocr.pipeline.ctc_decode", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scripted().recognize([np.zeros((48, 96, 3), np.uint8)])


@pytest.mark.parametrize("pages", [1, 2])
def test_pages_of_different_callers_are_read_in_turns(pages: int) -> None:
    inside, most = [], []

    def det(tensor: np.ndarray) -> np.ndarray:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.02)
        inside.pop()
        return dark_is_text(tensor)

    models = Scripted("ocr-det", det), Scripted("ocr-rec", reads(1)), None
    pipeline = assemble(*models, ("a", "b", "c"), OcrSettings(), pages=pages)
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(pipeline.read, [page_with_bars()] * 6))) == 1
    assert max(most) == pages


def test_who_waits_for_his_turn_gives_up_at_his_deadline() -> None:
    pipeline = scripted()
    with pipeline.turns.place(), pytest.raises(DeadlineError):
        pipeline.read(page_with_bars(), Budget.lasting(0.05))
    assert pipeline.read(page_with_bars())


def page_with_bars(height: int = 400, width: int = 500) -> np.ndarray:
    page = np.full((height, width, 3), 255, np.uint8)
    page[50:80, 60:260] = 0
    page[200:230, 100:400] = 0
    return page


def test_an_empty_page_has_no_lines():
    assert scripted().read(np.full((300, 300, 3), 255, np.uint8)) == ()


def test_each_bar_is_a_line_whose_box_holds_it():
    first, second = scripted().read(page_with_bars())
    for line, (left, top, right, bottom) in ((first, (60, 50, 260, 80)), (second, (100, 200, 400, 230))):
        assert (line.text, line.confidence) == ("a", pytest.approx(0.94))
        (x0, y0), (x1, y1) = line.box[0], line.box[2]
        assert left - 30 < x0 <= left
        assert top - 30 < y0 <= top
        assert right <= x1 < right + 30
        assert bottom <= y1 < bottom + 30


def darker_first(tensor: np.ndarray) -> np.ndarray:
    """Of each line, whether its left half is the darker one: the mark of a line that stands upright."""
    found = []
    for line in tensor[:, 0]:
        half = int((line != 0).any(axis=0).sum()) // 2  # zero is padding
        inked = np.where(line < 0, line, 0)
        found.append(inked[:, :half].sum() < inked[:, half : 2 * half].sum())
    return np.array(found)


def marked_page(*, turned: bool) -> np.ndarray:
    page = np.full((400, 500, 3), 255, np.uint8)
    for top, left, right in ((50, 60, 260), (200, 100, 400)):
        page[top : top + 30, left:right] = 100
        page[top : top + 30, left : (left + right) // 2] = 0
    return page[::-1, ::-1].copy() if turned else page


def knowing(asked: list[int], *, sure: float = 0.94, unsure: float = 0.6) -> OcrPipeline:
    """rec is ``sure`` of upright lines only; cls knows which those are, and notes how many it was asked about."""

    def rec(tensor: np.ndarray) -> np.ndarray:
        out = reads(1)(tensor)
        out[~darker_first(tensor), 1, 1] = unsure
        out[~darker_first(tensor), :, 0] = np.minimum(out[~darker_first(tensor), :, 0], unsure / 2)
        out[darker_first(tensor), 1, 1] = sure
        return out

    def cls(tensor: np.ndarray) -> np.ndarray:
        asked.append(int((tensor != 0).any(axis=(1, 2, 3)).sum()))
        upright_lines = darker_first(tensor)
        return np.stack([np.where(upright_lines, 0.95, 0.05), np.where(upright_lines, 0.05, 0.95)], axis=1)

    return replace(scripted(), rec=Scripted("ocr-rec", rec), cls=Scripted("ocr-cls", cls))


def test_lines_on_their_head_are_read_turned_and_begin_at_the_lower_right():
    asked: list[int] = []
    pipeline = knowing(asked)
    upright_ = pipeline.read(marked_page(turned=False))
    assert asked == []  # rec was sure: cls need not be asked
    turned = pipeline.read(marked_page(turned=True))
    assert asked == [2]
    assert [line.confidence for line in (*upright_, *turned)] == [pytest.approx(0.94, abs=0.01)] * 4
    assert sorted(line.box[0] for line in turned) == [
        pytest.approx((500 - x, 400 - y), abs=3) for x, y in sorted((line.box[0] for line in upright_), reverse=True)
    ]


def test_where_one_line_stands_on_its_head_cls_is_asked_about_all():
    asked: list[int] = []
    page = marked_page(turned=False)
    page[180:250] = page[180:250, ::-1]  # the second line turned, the first upright
    lines = knowing(asked).read(page)
    assert asked == [1, 1]
    assert [line.confidence for line in lines] == [pytest.approx(0.94, abs=0.01)] * 2


def test_on_a_page_on_its_head_short_lines_that_cls_takes_for_upright_are_turned_too():
    asked: list[int] = []
    page = marked_page(turned=False)
    page[300:330, 100:170] = 100
    page[300:330, 100:135] = 0
    pipeline = knowing(asked)
    knows = pipeline.cls.answer

    def fooled(tensor: np.ndarray) -> np.ndarray:
        short = (tensor[:, 0] != 0).any(axis=1).sum(axis=1) < 120  # zero is padding
        return np.where(short[:, None], (0.95, 0.05), knows(tensor))

    pipeline = replace(pipeline, cls=Scripted("ocr-cls", fooled))
    turned = page[::-1, ::-1].copy()
    assert [line.confidence for line in pipeline.read(turned)] == [pytest.approx(0.94, abs=0.01)] * 3
    page[180:250], page[30:100] = page[180:250, ::-1], page[30:100, ::-1]  # here the short one stands upright
    assert [line.confidence for line in pipeline.read(page)] == [pytest.approx(0.94, abs=0.01)] * 3


def test_what_cls_turns_in_vain_stays_as_it_was():
    page = page_with_bars()
    assert scripted(turned=0.95, drop_confidence=0.5).read(page) == scripted().read(page)
    doubtful = replace(scripted(turned=0.95), rec=Scripted("ocr-rec", lambda tensor: 0.8 * reads(1)(tensor)))
    assert [line.box for line in doubtful.read(page)] == [line.box for line in scripted().read(page)]


def test_after_warming_up_no_scan_brings_a_new_shape():
    met: set[tuple[str, tuple[int, ...]]] = set()

    def noted(stage: Scripted) -> Scripted:
        def answer(tensor: np.ndarray) -> np.ndarray:
            met.add((stage.name, tensor.shape))
            return stage.answer(tensor)

        return replace(stage, answer=answer)

    asked: list[int] = []
    pipeline = knowing(asked)
    pipeline = replace(pipeline, det=noted(pipeline.det), rec=noted(pipeline.rec), cls=noted(pipeline.cls))
    pipeline.warm_up()
    warm = met.copy()
    page = np.full((2105, 1488, 3), 255, np.uint8)
    for number in range(30):
        page[60 * number + 40 : 60 * number + 70, 100 : 140 + 40 * number] = 0
    assert len(pipeline.read(page)) > 20
    assert asked
    assert met == warm


def test_orient_gives_degrees_and_confidence():
    crops = [np.zeros((48, 100, 3), np.uint8)] * 19
    assert scripted(turned=0.95).orient(crops) == [(180, pytest.approx(0.95))] * 19
    assert scripted(turned=0.2).orient(crops) == [(0, pytest.approx(0.8))] * 19
    assert replace(scripted(turned=0.95), cls=None).orient(crops) == [(0, 1.0)] * 19


def test_uncertain_and_blank_lines_are_left_out():
    assert scripted(drop_confidence=0.95).read(page_with_bars()) == ()
    blank = replace(scripted(), characters=(" ", "b", "c"))
    assert blank.read(page_with_bars()) == ()


def test_spaces_around_a_line_are_left_out():
    def rec(tensor: np.ndarray) -> np.ndarray:
        out = reads(1)(tensor)
        out[:, -3:] = 0.02
        out[:, -3, 2] = 0.94
        return out

    pipeline = replace(scripted(), rec=Scripted("ocr-rec", rec), characters=("a", " ", "c"))
    assert [line.text for line in pipeline.read(page_with_bars())] == ["a", "a"]


def test_a_line_that_runs_downwards_is_read_along_its_length():
    page = np.full((500, 400, 3), 255, np.uint8)
    page[100:400, 200:230] = 0
    (line,) = scripted().read(page)
    start, end = line.box[0], line.box[1]
    assert start[0] > 220
    assert end[1] - start[1] > 300


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.integers(1, 700), st.randoms(use_true_random=False))
def test_boxes_stay_inside_the_page(height, width, random):
    page = np.full((height, width, 3), 255, np.uint8)
    for _ in range(3):
        top, left = random.randrange(height), random.randrange(width)
        page[top : top + random.randint(1, 40), left : left + random.randint(1, 300)] = 0
    for line in scripted().read(page):
        for x, y in line.box:
            assert 0 <= x <= width
            assert 0 <= y <= height


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (40, 33_000)])
def test_the_oddest_sizes_are_read(size):
    for line in scripted().read(np.zeros((*size, 3), np.uint8)):
        assert all(0 <= x <= size[1] and 0 <= y <= size[0] for x, y in line.box)


def test_recognize_keeps_the_order_of_its_crops():
    def by_width(tensor: np.ndarray) -> np.ndarray:
        # class 1, 2 or 3 by how many columns are not padding
        filled = (tensor[:, 0, 24] != 0).sum(axis=1)
        return np.stack([reads(1 + int(columns > 100) + int(columns > 200))(tensor[:1])[0] for columns in filled])

    ocr = replace(scripted(), rec=Scripted("ocr-rec", by_width))
    crops = [np.zeros((48, width, 3), np.uint8) for width in (150, 60, 250, 90, 240)]
    assert [text for text, _ in ocr.recognize(crops)] == ["b", "a", "c", "a", "c"]
    assert ocr.recognize([]) == []


def test_a_dictionary_of_another_model_is_refused():
    with pytest.raises(ModelError, match="2 classes|4 classes"):
        assemble(Scripted("ocr-det", dark_is_text), Scripted("ocr-rec", reads(1)), None, ("a",), OcrSettings())


def test_a_model_with_two_inputs_is_refused():
    two = Scripted("ocr-det", dark_is_text, inputs=(TensorSpec("a", "float32", ()), TensorSpec("b", "float32", ())))
    with pytest.raises(ModelError, match="ocr-det has 2 inputs"):
        assemble(two, Scripted("ocr-rec", reads(1)), None, ("a", "b", "c"), OcrSettings())


# real models from here on


@pytest.fixture(scope="module")
def v4_onnx(ppocr_v4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PP-OCRv4 converted to ONNX, the only format that ONNX Runtime reads."""
    out = tmp_path_factory.mktemp("v4-onnx")
    for stage in ("det", "rec", "cls"):
        (out / stage).mkdir()
        to_onnx(ppocr_v4 / stage, out / stage / "model.onnx")
    (out / "rec" / "dict.txt").write_bytes((ppocr_v4 / "rec" / "dict.txt").read_bytes())
    return out


@pytest.fixture(scope="module")
def v4(ppocr_v4: Path, v4_onnx: Path) -> dict[Backend, OcrPipeline]:
    options = RunOptions(threads=2, parallel=2)
    places: dict[Backend, Path] = {"openvino": ppocr_v4, "paddle": ppocr_v4, "onnxruntime": v4_onnx}
    return {backend: load_ocr(read_ocr_models(place), backend, options) for backend, place in places.items()}


def truth(name: str) -> list[str]:
    rows = dict(row.split("\t") for row in (PICTURES / "Label.txt").read_text(encoding="utf-8").splitlines())
    return [each["transcription"] for each in json.loads(rows[name])]


@pytest.mark.parametrize("name", ["id_0.jpg", "notice_0.jpg", "statement_0.jpg"])
def test_the_three_backends_read_the_same_and_nearly_everything(v4, name):
    image = load_image((PICTURES / name).read_bytes())
    read = {backend: [line.text for line in ocr.read(image)] for backend, ocr in v4.items()}
    assert read["paddle"] == read["openvino"]
    assert read["onnxruntime"] == read["openvino"]
    found = Counter(read["openvino"]) & Counter(truth(name))
    assert found.total() >= 0.95 * len(truth(name))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_pp_ocrv6_reads_through_the_same_code(ppocr_v6, backend):
    ocr = load_ocr(read_ocr_models(ppocr_v6), backend)
    lines = ocr.read(load_image((PICTURES / "notice_0.jpg").read_bytes()))
    assert [line.text for line in lines] == truth("notice_0.jpg")
    assert min(line.confidence for line in lines) > 0.9


def test_a_rendered_page_reads_as_its_own_text_layer(v4):
    page = next(load_pages((EXAMPLES / "application" / "statement.pdf").read_bytes()))
    assert page.lines is not None
    assert [line.text for line in v4["openvino"].read(page.image)] == [line.text for line in page.lines]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_page_lying_on_its_side_or_head_reads_the_same(v4, turns):
    image = load_image((PICTURES / "notice_0.jpg").read_bytes())
    turned = np.ascontiguousarray(np.rot90(image, turns))
    # det may leave out a full stop at the end of a line that lies another way
    upright_, found = ([line.text.rstrip("。") for line in v4["openvino"].read(page)] for page in (image, turned))
    assert found == upright_


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_real_models_bear_the_thinnest_pictures(v4, size):
    image = np.zeros((*size, 3), np.uint8)
    for ocr in v4.values():
        assert isinstance(ocr.read(image), tuple)
        assert len(ocr.recognize([image])) == 1


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "paddle"])
def test_threads_that_share_a_pipeline_do_not_mix_their_pages(v4, backend):
    images = [load_image((PICTURES / name).read_bytes()) for name in ("notice_0.jpg", "id_1.jpg", "sign_0.jpg")]
    expected = [v4[backend].read(image) for image in images]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(v4[backend].read, images * 3)) == expected * 3
