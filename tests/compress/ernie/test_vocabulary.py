"""A pruned vocabulary reads what it kept as before, and never reads one character for another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.ernie.checkpoint import Checkpoint, ErnieConfig, read_checkpoint, weight_shapes, write_checkpoint
from compress.ernie.model import build_model
from compress.ernie.vocabulary import prune_vocabulary
from compress.paddle_env import paddle
from runtime.tokenizer import SPECIAL_TOKENS, read_vocab

# pieces of several lengths, $ twice, characters of GB 2312's first level (贷款), of its second (龠), of none of it (㐱)
TOKENS = ["$", "loan", "##s", "[PAD]", "[CLS]", "贷", "款", "龠", "㐱", "lo", "##an", "##a", "##n", "l", "##o", "$"]
TOKENS += ["a", "，", "[UNK]", "[MASK]", "[SEP]", "s", "n", "o", "##l", "loans", "жук", "ж", "##ук", "##у", "é", "５"]
TOKENS += ["##an龠", "мир", "м", "##и", "##р"]
CORPUS = ["loan 龠$", "loans loans", "жук мир", "lo"]
CONFIG = ErnieConfig(
    vocab_size=40,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=64,
    type_vocab_size=4,
    use_task_id=True,
    task_type_vocab_size=3,
    task_id=2,
    pad_token_id=3,
    id2label={0: "a", 1: "b", 2: "c"},
)


def checkpoint(*, head: str = "ErnieForSequenceClassification", lowercase: bool = True) -> Checkpoint:
    config = CONFIG.model_copy(update={"architectures": (head,)})
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in weight_shapes(config).items()}
    return Checkpoint(config, weights, ("\n".join(TOKENS) + "\n").encode(), lowercase)


def tokens(of: Checkpoint, text: str) -> list[str]:
    names = read_vocab(of.vocab)
    return [names[index] for index in of.tokenizer().ids(text, 32)[1:-1]]


WHOLE = checkpoint()
PRUNED = prune_vocabulary(WHOLE, CORPUS, max_length=16, min_count=2)
MODELS = [build_model(each.config, each.weights) for each in (WHOLE, PRUNED)]


def test_characters_of_the_corpus_stay_and_rare_pieces_are_spelled() -> None:
    kept = set(read_vocab(PRUNED.vocab))
    assert {"龠", "贷", "款", "，", "５", "loans", *SPECIAL_TOKENS} <= kept  # 贷款，５ by GB 2312
    assert not {"㐱", "loan", "lo", "é", "##an", "##an龠"} & kept
    assert read_vocab(PRUNED.vocab) == [token for token in TOKENS[1:] if token in kept]  # the order stays
    assert "жук" in kept  # seen once, but ##к is not in the vocabulary: without it the word would be [UNK]
    assert not {"ж", "##ук"} & kept
    assert {"м", "##и", "##р"} <= kept - {"мир"}
    assert tokens(PRUNED, "loan loans") == ["l", "##o", "##a", "##n", "loans"]
    assert tokens(PRUNED, "龠㐱é") == ["龠", "[UNK]", "[UNK]"]


def test_of_a_token_that_stands_twice_the_row_stays_that_was_used() -> None:
    names = read_vocab(PRUNED.vocab)
    assert names.count("$") == 1
    word = "ernie.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(PRUNED.weights[word][names.index("$")], WHOLE.weights[word][15])


def test_only_rows_that_can_be_fed_are_left(tmp_path: Path) -> None:
    config = PRUNED.config
    assert config.vocab_size == len(read_vocab(PRUNED.vocab)) < len(TOKENS)
    assert (config.max_position_embeddings, config.type_vocab_size) == (16, 2)
    assert (config.task_type_vocab_size, config.task_id) == (1, 0)
    table = PRUNED.weights["ernie.embeddings.task_type_embeddings.weight"]
    np.testing.assert_array_equal(table, WHOLE.weights["ernie.embeddings.task_type_embeddings.weight"][2:])
    write_checkpoint(tmp_path, PRUNED)
    read = read_checkpoint(tmp_path)  # checks shapes, the vocabulary's size and [PAD]
    assert read.config == config
    assert read.config.pad_token_id == read.tokenizer().pad_id
    assert WHOLE.config == CONFIG.model_copy(update={"architectures": WHOLE.config.architectures})


def test_a_network_that_labels_tokens_and_has_no_tasks_is_pruned_too() -> None:
    whole = checkpoint(head="ErnieForTokenClassification", lowercase=False)
    config = whole.config.model_copy(update={"use_task_id": False})
    weights = {name: array for name, array in whole.weights.items() if "task_type" not in name}
    pruned = prune_vocabulary(Checkpoint(config, weights, whole.vocab, False), ["loan"], max_length=9, min_count=1)
    assert (pruned.config.head, pruned.config.task_type_vocab_size, pruned.lowercase) == ("token", 3, False)
    assert {name: array.shape for name, array in pruned.weights.items()} == weight_shapes(pruned.config)


def test_a_corpus_without_texts_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no text"):
        prune_vocabulary(WHOLE, [], max_length=16)


LETTERS = st.text(st.sampled_from("loansжукé龠"), min_size=1, max_size=6)


@given(st.lists(LETTERS | st.sampled_from(["贷", "㐱", "$", "，", "loans", "жук", "字", "[SEP]"]), max_size=6))
def test_any_word_is_read_as_before_or_spelled_smaller_or_unknown(words: list[str]) -> None:
    """Word for word: the same pieces, or [UNK], or pieces that spell the same."""
    for word in words:
        for part in word.replace("龠", " 龠 ").split():
            before, after = tokens(WHOLE, part), tokens(PRUNED, part)
            spelled = "".join(token.removeprefix("##") for token in after)
            assert after in (before, ["[UNK]"]) or spelled == part.replace("é", "e")
    assert tokens(PRUNED, " ".join(words)) == [token for word in words for token in tokens(PRUNED, word)][:30]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["loans", "жук", "龠", "$", "贷", "款", "s", "l", "[MASK]"]), max_size=14))
def test_text_whose_tokens_all_stayed_gets_the_same_logits(words: list[str]) -> None:
    text = " ".join(words)
    assert tokens(PRUNED, text) == tokens(WHOLE, text)
    logits = []
    for each, model in zip((WHOLE, PRUNED), MODELS, strict=True):
        batch = each.tokenizer().encode([text, "loans"], 16)
        logits.append(model(paddle.to_tensor(batch.input_ids), paddle.to_tensor(batch.token_type_ids)).numpy())
    np.testing.assert_array_equal(*logits)


@settings(max_examples=50)
@given(st.text(st.sampled_from("loansжук龠 ，$"), max_size=20))
def test_nothing_of_the_corpus_is_lost_when_every_piece_counts(text: str) -> None:
    if "[UNK]" in tokens(WHOLE, text):  # such a word may be spelled afterwards
        return
    assert tokens(prune_vocabulary(WHOLE, [text], max_length=32, min_count=1), text) == tokens(WHOLE, text)
