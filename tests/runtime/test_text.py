"""The text classifier, with a predictor made of arithmetic: what is fed and what is made of the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.errors import ClientGoneError, ModelError, TextError
from runtime.artifact import Artifact, ModelEntry, TextSettings, parse_artifact, read_artifact
from runtime.budget import Budget
from runtime.predictor import Backend, TensorSpec
from runtime.readable import Pairs
from runtime.text import Entity, TextClassifier, TokenClassifier, label_probabilities
from runtime.tokenizer import ErnieTokenizer

CHARACTERS = "贷款还旧借新卡网"
TOKENIZER = ErnieTokenizer(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *CHARACTERS])
MULTI = TextSettings(labels=("a", "b"), multi_label=True, max_length=32, temperature=2.0)


@dataclass
class SumPredictor:
    """Logits are the sum of a text's ids and its length; padding, being 0, adds nothing."""

    name: str = "text-risk"
    backend: Backend = "openvino"
    precision: str = "fp32"
    sha256: str = ""
    width: int = 2
    input_names: tuple[str, ...] = ("token_type_ids", "input_ids")
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, "int64", (None, None)) for name in self.input_names)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("logits", "float32", (None, self.width)),)

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        ids = feeds["input_ids"]
        assert not feeds["token_type_ids"].any()
        self.shapes.append(ids.shape)
        columns = [ids.sum(axis=1), (ids != 0).sum(axis=1), ids.sum(axis=1)][: self.width]
        return {"logits": np.stack(columns, axis=1).astype(np.float32)}


def test_answers_come_in_the_order_of_the_texts_with_their_own_ids() -> None:
    texts = [CHARACTERS[: 1 + index * 5 % 8] * (1 + index % 3) for index in range(50)]
    predictor = SumPredictor()
    results = TextClassifier(predictor, TOKENIZER, MULTI).classify(texts)
    assert [result.text for result in results] == texts
    for text, result in zip(texts, results, strict=True):
        assert result.input_ids == TOKENIZER.ids(text, 32)
        assert result.token_type_ids == [0] * len(result.input_ids)
        assert result.logits == [sum(result.input_ids), len(result.input_ids)]
        expected = [1 / (1 + np.exp(-logit / 2)) for logit in result.logits]
        assert list(result.labels.values()) == pytest.approx(expected)
    assert sorted(predictor.shapes) == [(2, 32)] + [(8, 32)] * 6


def test_no_text_takes_a_shape_that_was_not_warm() -> None:
    settings = TextSettings(labels=("a", "b"), multi_label=True, max_length=200)
    predictor = SumPredictor()
    classifier = TextClassifier(predictor, TOKENIZER, settings)
    classifier.warm_up()
    warm = set(predictor.shapes)
    rows = {32: (1, 2, 4, 8), 64: (1, 2, 4), 96: (1, 2), 128: (1, 2), 192: (1,), 200: (1,)}
    assert warm == {(row, width) for width in rows for row in rows[width]}
    for length in range(1, 210, 3):
        results = classifier.classify(["贷" * length] * (1 + length % 11))
        assert {result.logits[1] for result in results} == {min(length + 2, 200)}
    assert set(predictor.shapes) == warm


def test_a_batch_is_filled_up_to_a_power_of_two_where_that_wastes_at_most_a_quarter() -> None:
    texts = [CHARACTERS[:length] for length in range(1, 9)]
    for count, shapes in {1: [1], 2: [2], 3: [4], 4: [4], 5: [4, 1], 6: [8], 7: [8], 8: [8]}.items():
        predictor = SumPredictor()
        results = TextClassifier(predictor, TOKENIZER, MULTI).classify(texts[:count])
        assert [result.logits[0] for result in results] == [sum(TOKENIZER.ids(text, 32)) for text in texts[:count]]
        assert [rows for rows, _ in predictor.shapes] == shapes


def test_on_a_gpu_a_batch_is_as_large_as_the_profile_says() -> None:
    predictor = SumPredictor(backend="onnxruntime:cuda")
    TextClassifier(predictor, TOKENIZER, MULTI, batch=4).classify(["贷"] * 9)
    assert predictor.shapes == [(4, 32), (4, 32), (1, 32)]


def test_texts_of_callers_at_the_same_time_run_together_and_each_gets_his_own() -> None:
    class SlowPredictor(SumPredictor):
        def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
            time.sleep(0.01)
            return super().run(feeds)

    predictor, sizes = SlowPredictor(), []
    classifier = TextClassifier(predictor, TOKENIZER, MULTI, observe=sizes.append)
    texts = [character * (1 + repeat) for character in CHARACTERS for repeat in range(4)]
    with ThreadPoolExecutor(len(texts)) as threads:
        answers = list(threads.map(lambda text: classifier.classify([text])[0], texts))
    for text, answer in zip(texts, answers, strict=True):
        assert answer.text == text
        assert answer.logits[0] == sum(TOKENIZER.ids(text, 32))
    assert sum(sizes) == len(texts)
    assert max(sizes) == 8


def test_a_wrong_text_is_refused_before_it_can_touch_the_others() -> None:
    predictor = SumPredictor()
    with pytest.raises(TextError):
        TextClassifier(predictor, TOKENIZER, MULTI).classify(["贷", "贷" * 20_001])
    assert predictor.shapes == []


def test_a_spent_budget_ends_a_long_request_between_two_runs() -> None:
    predictor = SumPredictor()
    budget = Budget(client_gone=lambda: len(predictor.shapes) >= 2)
    with pytest.raises(ClientGoneError):
        TextClassifier(predictor, TOKENIZER, MULTI).classify(["贷"] * 80, budget=budget)
    assert len(predictor.shapes) == 2


def test_no_texts_give_no_answers() -> None:
    assert TextClassifier(SumPredictor(), TOKENIZER, MULTI).classify([]) == []


def test_an_empty_text_is_refused_unless_it_is_asked_for() -> None:
    classifier = TextClassifier(SumPredictor(), TOKENIZER, MULTI)
    with pytest.raises(TextError, match="Text 2 is empty"):
        classifier.classify(["贷", " \u3000\n"])
    assert classifier.classify([""], allow_empty=True)[0].input_ids == [1, 2]


def test_a_text_beyond_the_limit_is_refused_with_its_length() -> None:
    classifier = TextClassifier(SumPredictor(), TOKENIZER, MULTI)
    assert len(classifier.classify(["贷" * 20_000])[0].input_ids) == 32
    with pytest.raises(TextError, match="20,001 characters"):
        classifier.classify(["贷" * 20_001])


@dataclass
class FlagPredictor(SumPredictor):
    """Label a where 旧 stands in the text, b where it has 网; the more of both the less of it there is besides."""

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        ids = feeds["input_ids"]
        self.shapes.append(ids.shape)
        length = (ids != 0).sum(axis=1)
        columns = [40 * (ids == 5 + CHARACTERS.index(character)).any(axis=1) / length - 1 for character in "旧网"]
        return {"logits": np.stack(columns, axis=1).astype(np.float32)}


def test_a_sentence_anywhere_in_a_long_text_counts_as_if_it_stood_alone() -> None:
    classifier = TextClassifier(FlagPredictor(), TOKENIZER, MULTI)
    plain, *flagged = classifier.classify(
        ["贷" * 500, *("贷" * at + "旧" + "贷" * (500 - at) for at in range(0, 501, 50))]
    )
    assert plain.labels["a"] == plain.labels["b"] < 0.4
    for result in flagged:
        assert result.labels["a"] > 0.5
        assert result.labels["b"] == plain.labels["b"]


def test_a_long_text_keeps_the_ids_and_logits_of_its_beginning() -> None:
    text = "贷款" * 40 + "旧"
    (whole,) = TextClassifier(FlagPredictor(), TOKENIZER, MULTI).classify([text])
    (cut,) = TextClassifier(FlagPredictor(), TOKENIZER, MULTI).classify([text[:30]])
    assert (whole.input_ids, whole.logits) == (cut.input_ids, cut.logits)
    assert whole.input_ids == TOKENIZER.ids(text, 32)
    assert (cut.windows, whole.windows) == ([(0, 30)], [(0, 30), (23, 53), (46, 76), (51, 81)])
    assert whole.labels["a"] > cut.labels["a"]


def test_a_text_longer_than_those_learned_from_is_read_as_a_whole_and_in_parts() -> None:
    settings = MULTI.model_copy(update={"max_length": 64, "window": 16})
    predictor = FlagPredictor()
    classifier = TextClassifier(predictor, TOKENIZER, settings)
    short, longer, longest = classifier.classify(["贷" * 14, "贷" * 30 + "旧", "贷" * 100])
    assert short.windows == [(0, 14)]
    assert longer.windows == [(0, 31), (0, 14), (11, 25), (17, 31)]
    assert len(longer.input_ids) == 33
    assert longer.labels["a"] == pytest.approx(1 / (1 + np.exp(-(40 / 16 - 1) / 2)))  # as in a text of 14
    assert longest.windows[0] == (0, 62)
    assert longest.windows[-1] == (86, 100)
    classifier.warm_up()
    assert {shape[1] for shape in predictor.shapes} == {32, 64}


def test_windows_of_labels_that_exclude_each_other_are_averaged() -> None:
    single = MULTI.model_copy(update={"multi_label": False})
    text = "贷" * 30 + "旧" * 30
    (result,) = TextClassifier(FlagPredictor(), TOKENIZER, single).classify([text])
    assert sum(result.labels.values()) == pytest.approx(1)
    parts = TextClassifier(FlagPredictor(), TOKENIZER, single).classify([text[slice(*span)] for span in result.windows])
    assert result.labels["a"] == pytest.approx(np.mean([part.labels["a"] for part in parts]))


def test_unreadable_texts_are_told_by_the_table_that_the_model_came_with() -> None:
    assert TextClassifier(SumPredictor(), TOKENIZER, MULTI).unreadable("龘靐齉爩麤龗灪蠿") is None
    table = Pairs.counted(["借新还旧", "新房装修"], ["借新还旧"])
    classifier = TextClassifier(SumPredictor(), TOKENIZER, MULTI, pairs=table)
    assert classifier.unreadable("龘靐齉爩麤龗灪蠿") == "unlike"
    assert classifier.unreadable("借新还旧") is None


def test_one_label_of_several_is_a_softmax_that_sums_to_one() -> None:
    single = TextSettings(labels=("a", "b", "c"), multi_label=False, temperature=0.5)
    got = label_probabilities(np.array([[1.0, 2.0, 3.0], [1e4, 0.0, -1e4]]), single)
    powers = np.exp(np.array([2.0, 4.0, 6.0]))
    np.testing.assert_allclose(got, [powers / powers.sum(), [1, 0, 0]], rtol=1e-12)


def test_extreme_logits_stay_probabilities() -> None:
    got = label_probabilities(np.array([[1e5, -1e5]]), MULTI)
    np.testing.assert_array_equal(got, [[1.0, 0.0]])


def test_a_model_that_is_none_of_text_is_refused() -> None:
    with pytest.raises(ModelError, match="its inputs are"):
        TextClassifier(SumPredictor(input_names=("x",)), TOKENIZER, MULTI)
    with pytest.raises(ModelError, match=r"shape \(1, 3\)"):
        TextClassifier(SumPredictor(width=3), TOKENIZER, MULTI).classify(["贷"])


TAGS = TextSettings(labels=("O", "B-x", "I-x"), multi_label=False, max_length=16, temperature=2.0, head="token")


@dataclass
class TagPredictor(SumPredictor):
    """贷 is B-x, 款 is I-x, all else O; 旧 is I-x as well, but hardly. Padding is B-x: nobody may look at it."""

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        ids = feeds["input_ids"]
        logits = np.zeros((*ids.shape, 3), np.float32)
        logits[..., 0] = 4
        for character, tag, height in (("贷", 1, 8), ("款", 2, 8), ("旧", 2, 5)):
            logits[ids == 5 + CHARACTERS.index(character), tag] = height
        logits[ids == 0, 1] = 9
        return {"logits": logits}


def certainty(height: float) -> float:
    return float(np.exp(height / 2) / (np.exp(height / 2) + np.exp(4 / 2) + 1))


def test_entities_are_found_where_they_stand_with_their_least_certain_tag() -> None:
    texts = ["借贷 款还", "借", "贷款旧贷"]
    results = TokenClassifier(TagPredictor(), TOKENIZER, TAGS).extract(texts)
    assert [result.text for result in results] == texts
    assert [len(result.logits) for result in results] == [len(result.input_ids) for result in results] == [6, 3, 6]
    assert results[0].logits[2] == [4, 8, 0]
    assert results[0].token_type_ids == [0] * 6
    assert results[0].entities == [Entity("x", 1, 4, "贷 款", pytest.approx(certainty(8)))]
    assert results[1].entities == []
    assert results[2].entities == [
        Entity("x", 0, 3, "贷款旧", pytest.approx(certainty(5))),
        Entity("x", 3, 4, "贷", pytest.approx(certainty(8))),
    ]


def test_a_text_longer_than_the_model_reads_is_said_to_be_cut() -> None:
    classifier = TokenClassifier(TagPredictor(), TOKENIZER, TAGS)
    whole, cut, spaced = classifier.extract(["贷" * 14, "贷" * 15, "贷" * 14 + "  "])
    assert (whole.cut, cut.cut, spaced.cut) == (False, True, False)
    assert len(cut.entities) == 14
    with pytest.raises(TextError, match="Text 1 is empty"):
        classifier.extract([" "])
    assert classifier.extract([" "], allow_empty=True)[0].entities == []


def test_a_token_model_is_none_for_whole_texts_and_the_reverse() -> None:
    with pytest.raises(ModelError, match="text-risk labels tokens; a model is needed that labels whole texts"):
        TextClassifier(TagPredictor(), TOKENIZER, TAGS)
    with pytest.raises(ModelError, match="labels whole texts; a model is needed that labels tokens"):
        TokenClassifier(SumPredictor(), TOKENIZER, MULTI)
    with pytest.raises(ModelError, match=r"shape \(1, 3\); expected one row a token"):
        TokenClassifier(SumPredictor(width=3), TOKENIZER, TAGS).extract(["贷"])


def test_an_artifact_that_does_not_name_its_head_is_of_whole_texts(tmp_path: Path) -> None:
    artifact = Artifact(kind="text", profile="p", models=(ModelEntry(name="m"),), text=TAGS)
    artifact.write(tmp_path)
    assert read_artifact(tmp_path).text == TAGS
    old = json.loads((tmp_path / "artifact.json").read_text())
    del old["text"]["head"]
    settings = parse_artifact(json.dumps(old).encode(), "old").text
    assert settings is not None
    assert settings.head == "sequence"
    with pytest.raises(ModelError, match=r"malformed at text\.head"):
        parse_artifact(json.dumps(old | {"text": old["text"] | {"head": "pair"}}).encode(), "new")
