"""What a purpose says and which words carry it, with an invented classifier that looks for words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from devices.errors import ClientGoneError
from edge.policy import load_policy
from edge.purpose import FALL, Purpose, find_phrases, read_purpose
from runtime.budget import UNLIMITED, Budget
from runtime.readable import Unreadable
from runtime.text import TextResult

POLICY = load_policy(Path(__file__).parents[2] / "examples" / "policy.toml").text


class Words:
    """A label is as probable as the likeliest of its words in a text, in windows of ``width`` characters."""

    def __init__(self, width: int = 10_000, **words: Mapping[str, float]) -> None:
        self.words, self.width, self.asked = words, width, 0

    def classify(self, texts: Sequence[str], *, budget: Budget = UNLIMITED) -> list[TextResult]:
        budget.check()
        assert all(text.strip() for text in texts)
        self.asked += len(texts)
        return [self._answer(text) for text in texts]

    def _answer(self, text: str) -> TextResult:
        ends = range(self.width, len(text) + self.width, self.width // 2)
        windows = [(max(0, min(end, len(text)) - self.width), min(end, len(text))) for end in ends]
        labels = {
            label: max([0.02, *(p for word, p in words.items() for window in windows if word in text[slice(*window)])])
            for label, words in self.words.items()
        }
        return TextResult(text, [], [], [], labels, windows)

    def unreadable(self, text: str) -> Unreadable | None:
        return "not_chinese" if text.isascii() else None


ROLLOVER, LURE = {"还网贷": 0.96}, {"中介": 0.9}
TEXT = "我在厂里上班，想借两万还网贷，剩下的装修。中介说能批。"


def told(text: str, classifier: Words) -> dict[str, str]:
    purpose = read_purpose(text, classifier, POLICY)
    for phrase in purpose.phrases.values():
        assert text[phrase.start : phrase.end] == phrase.text
    return {label: phrase.text for label, phrase in purpose.phrases.items()}


def test_each_label_that_counts_gets_the_clause_that_carries_it() -> None:
    classifier = Words(debt_rollover=ROLLOVER, inducement=LURE, exaggeration={"装修": 0.15})
    purpose = read_purpose(TEXT, classifier, POLICY)
    assert classifier.asked == 1 + 4 + 2  # the text, each clause left out for both labels, and what is shown of each
    assert told(TEXT, classifier) == {"debt_rollover": "想借两万还网贷", "inducement": "中介说能批"}
    assert purpose.phrases["debt_rollover"].drop == pytest.approx(0.94)
    assert purpose.unreadable is None
    assert set(purpose.labels) == {"debt_rollover", "inducement", "exaggeration"}


def test_a_text_without_labels_that_count_is_asked_about_once() -> None:
    classifier = Words(normal={"装修": 0.99}, debt_rollover={"借": 0.2})
    assert read_purpose(TEXT, classifier, POLICY).phrases == {}
    assert classifier.asked == 1


def test_words_that_carry_a_label_only_together_are_one_phrase() -> None:
    classifier = Words(debt_rollover={"想借两万": 0.9, "还网贷": 0.9})
    assert told("上班三年，想借两万，还网贷。月底发钱。", classifier) == {"debt_rollover": "想借两万，还网贷"}


@pytest.mark.parametrize(
    "text",
    [
        "借钱还网贷",  # nothing would be left
        "\n借钱还网贷\n",
        "还网贷，上班三年，还网贷，月底发钱，还网贷。",  # said again elsewhere
        "还网贷，还网贷，还网贷，还网贷，月底发钱。",  # in more clauses than a phrase has
    ],
)
def test_no_phrase_is_told_where_leaving_one_out_changes_little(text: str) -> None:
    assert told(text, Words(debt_rollover=ROLLOVER)) == {}


def test_a_phrase_must_take_half_of_the_label_with_it() -> None:
    text = "还网贷，上班三年，月底发钱，买菜，想借两万。"
    assert told(text, Words(debt_rollover={"还网贷": 0.9, "想借": 0.46})) == {}
    assert told(text, Words(debt_rollover={"还网贷": 0.9, "想借": 0.9 * (1 - FALL)})) != {}


def test_in_a_long_text_the_phrase_is_found_in_the_window_that_shows_it() -> None:
    plain = "每天上班很忙，" * 40
    text = f"{plain}想借两万还网贷，{plain}"
    classifier = Words(width=30, debt_rollover=ROLLOVER)
    assert told(text, classifier) == {"debt_rollover": "想借两万还网贷"}
    assert classifier.asked < 100
    assert told(f"{text}还网贷，{plain}", classifier) == {}  # the rest of the text still says it


@pytest.mark.parametrize("before", range(0, 30, 3))
def test_a_phrase_of_a_long_text_begins_and_ends_with_its_clause(before: int) -> None:
    text = "好" * before + "，想借两万块钱去还网贷，" + "剩下的装修，" * 5
    assert told(text, Words(width=14, debt_rollover=ROLLOVER)) == {"debt_rollover": "想借两万块钱去还网贷"}


def test_punctuation_and_empty_lines_are_no_clauses() -> None:
    classifier = Words(debt_rollover={"想借两万": 0.9, "还网贷": 0.9})
    text = "上班三年。\n\n想借两万！！！\n\n还网贷！！！\n\n月底发钱。"
    assert told(text, classifier) == {"debt_rollover": "想借两万！！！\n\n还网贷"}


def test_numbers_blanks_and_line_ends_do_not_break_a_phrase() -> None:
    text = "\n 月入12,000元 想借两万 还网贷\n\n上班三年"
    assert told(text, Words(debt_rollover=ROLLOVER)) == {"debt_rollover": "还网贷"}
    assert told(text, Words(vague_income={"000元": 0.9})) == {"vague_income": "月入12,000元"}


def test_a_text_of_very_many_clauses_takes_no_more_runs_than_a_long_one() -> None:
    classifier = Words(debt_rollover=ROLLOVER)
    text = "好，" * 100 + "还网贷，" + "好，" * 50
    (phrase,) = told(text, classifier).values()
    assert "还网贷" in phrase
    assert classifier.asked < 90


def test_an_unreadable_purpose_is_given_to_no_model() -> None:
    classifier = Words(normal={"a": 0.9})
    assert read_purpose("asdfghjkl", classifier, POLICY) == Purpose({}, {}, "not_chinese")
    assert classifier.asked == 0


def test_a_label_that_the_policy_does_not_know_gets_no_phrase() -> None:
    purpose = read_purpose(TEXT, Words(novelty={"中介": 0.9}), POLICY)
    assert purpose.phrases == {}
    assert purpose.labels == {"novelty": 0.9}


def test_a_client_that_leaves_ends_the_search() -> None:
    classifier = Words(debt_rollover=ROLLOVER)
    (result,) = classifier.classify([TEXT])
    with pytest.raises(ClientGoneError):
        find_phrases(result, {"debt_rollover": 0.96}, classifier, Budget(client_gone=lambda: classifier.asked > 2))
