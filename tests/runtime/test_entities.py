"""Tags and the entities that they spell out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.entities import Span, entities_of_logits, entity_type, is_tag, spans_in_text, spans_of_tags


@dataclass(frozen=True)
class Case:
    name: str
    tags: str
    found: tuple[tuple[str, int, int], ...]


CASES = [
    Case("nothing", "", ()),
    Case("outside only", "O O O", ()),
    Case("one of several tokens", "O B-x I-x I-x O", (("x", 1, 4),)),
    Case("at both ends", "B-x O B-y I-y", (("x", 0, 1), ("y", 2, 4))),
    Case("side by side", "B-x I-x B-x", (("x", 0, 2), ("x", 2, 3))),
    Case("another type goes on", "B-x I-y", (("x", 0, 1), ("y", 1, 2))),
    Case("inside without a beginning", "I-x I-x O I-x", (("x", 0, 2), ("x", 3, 4))),
    Case("all four", "B-x I-x E-x S-x", (("x", 0, 3), ("x", 3, 4))),
    Case("begins and ends", "B-x E-x B-x", (("x", 0, 2), ("x", 2, 3))),
    Case("goes on after its end", "B-x E-x I-x", (("x", 0, 2), ("x", 2, 3))),
    Case("goes on after a single", "S-x I-x E-x", (("x", 0, 1), ("x", 1, 3))),
    Case("ends without a beginning", "O E-x E-x", (("x", 1, 2), ("x", 2, 3))),
    Case("a single within", "B-x S-x E-x", (("x", 0, 1), ("x", 1, 2), ("x", 2, 3))),
    Case("a hyphen in the type", "B-a-b I-a-b", (("a-b", 0, 2),)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tags_spell_out_what_conlleval_reads(case: Case) -> None:
    assert spans_of_tags(case.tags.split()) == [Span(*each) for each in case.found]


@pytest.mark.parametrize("tag", ["O", "B-x", "I-甲", "E-a-b", "S- "])
def test_tags_are_known(tag: str) -> None:
    assert is_tag(tag)


@pytest.mark.parametrize("tag", ["", "B", "B-", "X-x", "b-x", "x-B", "OO", "O-x", "LABEL_0"])
def test_what_is_no_tag_is_known_too(tag: str) -> None:
    assert not is_tag(tag)


def test_a_tag_holds_its_type() -> None:
    assert [entity_type(tag) for tag in ("O", "B-x", "S-a-b")] == [None, "x", "a-b"]


def test_entities_stand_where_their_tokens_do_and_special_tokens_nowhere() -> None:
    offsets = [(0, 0), (1, 3), (4, 5), (9, 12), (0, 0)]
    assert spans_in_text(["B-x", "I-x", "I-x", "B-y", "I-y"], offsets) == [Span("x", 1, 5), Span("y", 9, 12)]
    with pytest.raises(ValueError, match="argument 2 is"):
        spans_in_text(["O"], offsets)


def test_the_likeliest_label_of_each_token_counts() -> None:
    labels = ("O", "B-x", "I-x")
    logits = np.array([[0, 9, 0], [0, 2, 1], [0, 1, 2], [3, 2, 2], [0, 0, 9]], np.float32)
    assert entities_of_logits(logits, [(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)], labels) == [Span("x", 0, 2)]


@given(st.lists(st.sampled_from(["O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y"]), max_size=20))
def test_entities_cover_every_tag_but_o_once_and_in_order(tags: list[str]) -> None:
    found = spans_of_tags(tags)
    covered = [index for span in found for index in range(span.start, span.end)]
    assert covered == [index for index, tag in enumerate(tags) if tag != "O"]
    assert all({entity_type(tag) for tag in tags[span.start : span.end]} == {span.label} for span in found)
