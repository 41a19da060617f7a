"""What the parts of ``bench compress`` rest on, without running one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from benchmarks.compress_whole import covering
from benchmarks.limit import encoder_operations
from benchmarks.recipes import edgekit, memory_bytes, own_profile
from benchmarks.teacher import SETTINGS, network
from benchmarks.textsplit import TASKS
from devices.errors import EdgeKitError
from devices.profile import load_profile
from runtime.tokenizer import SPECIAL_TOKENS, ErnieTokenizer


def test_a_12_layer_ernie_takes_the_arithmetic_that_is_published_for_it() -> None:
    assert encoder_operations(12, 768, 3072, 128) / 1e9 == pytest.approx(
        22.3, abs=0.1
    )  # 2 * 85 M weights * 128, and attention


def test_the_covering_part_keeps_what_the_whole_corpus_would_keep() -> None:
    tokenizer = ErnieTokenizer([*SPECIAL_TOKENS, *"借还款利率高低多少"])
    texts = ["借款", "还款", "借款", "借款", "利率", "借款利率", "高", "借还"]
    part = covering(texts, tokenizer, enough=2)

    def counts(chosen: list[str]) -> Counter[int]:
        return Counter(token for text in chosen for token in tokenizer.ids(text, 16))

    whole, kept = counts(texts), counts(part)
    assert all(kept[token] >= min(count, 2) for token, count in whole.items())
    assert len(part) < len(texts)


def test_the_own_profile_loads_and_lets_accuracy_go(tmp_path: Path) -> None:
    profile = load_profile(own_profile(tmp_path, "any-loss", max_drop=0.99))
    assert profile.name == "any-loss"
    assert profile.compress.max_drop == 0.99
    assert profile.compress.text_latency_ms is None
    assert profile.serve == load_profile("cpu-avx512-vnni").serve


def test_the_teachers_are_six_layers_of_384_with_the_labels_of_their_task() -> None:
    assert set(SETTINGS) == set(TASKS)
    config = network(("a", "b", "c"), 128)
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (6, 384, 40000)
    assert config.labels == ("a", "b", "c")
    assert config.max_position_embeddings == 128


def test_memory_is_summed_over_processes_and_the_dead_count_nothing() -> None:
    own = psutil.Process(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = psutil.Process(child.pid)
        assert memory_bytes([other]) > 1_000_000
    assert memory_bytes([other]) == 0
    assert memory_bytes([own]) > 10_000_000
    assert memory_bytes([own, own, other]) == pytest.approx(2 * memory_bytes([own]), rel=0.2)


def test_a_command_that_fails_is_reported_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match="no such file|No such file|does not exist|missing"):
        edgekit("predict", "text", "--model", tmp_path / "nowhere")
