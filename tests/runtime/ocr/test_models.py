"""An OCR directory is read whole, or refused with what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from devices.errors import ModelError
from runtime.artifact import Artifact, ModelEntry, OcrSettings
from runtime.ocr.models import complete_characters, onnx_metadata, parse_characters, read_ocr_models

# characters that str.splitlines would split at, and one outside the basic plane
CHARACTERS = ("一", "a", "\u2028", "\x85", "\u3000", "𠮷")


def network(**metadata: str) -> bytes:
    tensor = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [tensor],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph)
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for stage in ("det", "rec", "cls"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "model.onnx").write_bytes(network())
    (tmp_path / "rec" / "dict.txt").write_text("\n".join(CHARACTERS) + "\n", encoding="utf-8", newline="")
    return tmp_path


def test_a_plain_directory_is_read_with_pp_ocr_s_settings(directory):
    models = read_ocr_models(directory)
    assert [models.det.name, models.rec.name, models.cls and models.cls.name] == ["ocr-det", "ocr-rec", "ocr-cls"]
    assert models.characters == CHARACTERS
    assert models.settings == OcrSettings()


def test_cls_may_be_missing(directory):
    (directory / "cls" / "model.onnx").unlink()
    (directory / "cls").rmdir()
    assert read_ocr_models(directory).cls is None


def test_without_a_dictionary_the_onnx_metadata_is_read(directory):
    (directory / "rec" / "dict.txt").unlink()
    (directory / "rec" / "model.onnx").write_bytes(network(author="someone", character="\n".join(CHARACTERS)))
    assert read_ocr_models(directory).characters == CHARACTERS


def test_without_any_characters_the_message_says_where_they_belong(directory):
    (directory / "rec" / "dict.txt").unlink()
    with pytest.raises(ModelError, match=r"rec/dict.txt is missing, and ocr-rec carries no characters"):
        read_ocr_models(directory)


@pytest.mark.parametrize("data", ["一\r\n二\r\n", "一\n二", "\ufeff一\n二\n"])
def test_line_ends_and_byte_order_marks_are_no_characters(data):
    assert parse_characters(data.encode()) == ("一", "二")


def test_a_blank_line_of_a_dictionary_keeps_its_place():
    assert parse_characters(b"a\n \n\nb\n") == ("a", " ", "", "b")


def test_a_dictionary_in_another_encoding_is_refused(directory):
    (directory / "rec" / "dict.txt").write_bytes("一二三".encode("gbk"))
    with pytest.raises(ModelError, match="not UTF-8"):
        read_ocr_models(directory)


@pytest.mark.parametrize("stage", ["det", "rec"])
def test_a_missing_model_is_named(directory, stage):
    (directory / stage / "model.onnx").unlink()
    with pytest.raises(ModelError, match=f"{stage} holds no model"):
        read_ocr_models(directory)
    for file in (directory / stage).iterdir():
        file.unlink()
    (directory / stage).rmdir()
    with pytest.raises(ModelError, match=f"no model ocr-{stage}: .*{stage} is missing"):
        read_ocr_models(directory)


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no directory"):
        read_ocr_models(tmp_path / "nowhere")


def test_ocr_toml_changes_what_it_names_and_nothing_else(directory):
    (directory / "ocr.toml").write_text("det_limit_side = 1280\n")
    assert read_ocr_models(directory).settings == OcrSettings(det_limit_side=1280)


@pytest.mark.parametrize(
    ("text", "message"),
    [("det_limit = 1", "det_limit: Extra"), ("det_threshold = 2", "det_threshold"), ("= 1", "not TOML")],
)
def test_a_wrong_setting_is_refused_by_name(directory, text, message):
    (directory / "ocr.toml").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_ocr_models(directory)


def test_an_artifact_says_where_its_models_are_and_how_precise(directory):
    (directory / "det").rename(directory / "detector")
    entries = (
        ModelEntry(name="ocr-det", directory="detector", precision="int8"),
        ModelEntry(name="ocr-rec", directory="rec"),
    )
    settings = OcrSettings(box_threshold=0.6)
    Artifact(kind="ocr", profile="any", models=entries, ocr=settings).write(directory)
    models = read_ocr_models(directory)
    assert (models.det.precision, models.rec.precision, models.cls) == ("int8", "fp32", None)
    assert models.settings == settings
    assert models.characters == CHARACTERS


def test_an_artifact_of_another_kind_is_refused(directory):
    Artifact(kind="model", profile="any", models=(ModelEntry(name="ocr-det", directory="det"),)).write(directory)
    with pytest.raises(ModelError, match="kind model; expected ocr"):
        read_ocr_models(directory)


def test_the_dictionary_must_fit_rec():
    assert complete_characters(("a", "b"), 3) == ("a", "b")
    assert complete_characters(("a", "b"), 4) == ("a", "b", " ")
    for classes in (2, 5):
        with pytest.raises(ModelError, match=f"2 characters, but rec has {classes} classes; expected 3 or, .* 4"):
            complete_characters(("a", "b"), classes)


def test_metadata_is_what_onnx_itself_reads():
    data = network(character="甲\n乙", empty="", long="x" * 70_000)
    expected = {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}
    assert onnx_metadata(data) == expected
    assert expected["long"] == "x" * 70_000


def test_what_is_no_onnx_is_refused():
    for data in (b"\xff" * 20, network(character="x" * 50)[:-10], b"<html>"):
        with pytest.raises(ModelError, match="not ONNX"):
            onnx_metadata(data)
