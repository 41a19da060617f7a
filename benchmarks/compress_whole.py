"""The whole recipe on ERNIE 12L768H: how much memory it takes, and how small and fast its student is.

Weights are random, so the profile allows any loss of accuracy. Few texts are learned from; memory, size and time do
not depend on how many, but the vocabulary does. So the pool is drawn from a banking corpus such that it keeps exactly
the words that the whole corpus keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.compress_speed import THREADS, TOKENS
from benchmarks.harness import Figure, Goal, Progress, Report, Row, ratio, take_turns
from benchmarks.networks import VOCAB_ROWS, divided_checkpoint, network, vocabulary
from benchmarks.recipes import edgekit, own_profile
from benchmarks.textsplit import SHARED, write_pool
from compress.ernie.checkpoint import write_checkpoint
from compress.ernie.vocabulary import MIN_COUNT
from examples.statements.grammar import generate
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files
from runtime.text import VOCAB_NAME, load_text_classifier
from runtime.tokenizer import ErnieTokenizer

TRAIN_TEXTS, DEV_TEXTS = 128, 128
STATEMENTS = 20_000  # the corpus where no public one lies beside the checkout
_LONGEST = 256


def corpus(scratch: Path) -> tuple[list[str], str]:
    """Banking texts, and what they are: the public questions, or invented statements."""
    if (SHARED / "text_bank_pairs").is_dir():
        texts = write_pool(scratch / "corpus.txt").read_text(encoding="utf-8").splitlines()
        return texts, f"{len(texts):,} questions to banks"
    texts = list(dict.fromkeys(statement.text for statement in generate(STATEMENTS, seed=1)))
    return texts, f"{len(texts):,} invented loan statements"


def covering(texts: Sequence[str], tokenizer: ErnieTokenizer, enough: int = MIN_COUNT) -> list[str]:
    """A part of ``texts`` in which every token occurs as often as in all, or ``enough`` times."""
    rows = [tokenizer.ids(text, _LONGEST) for text in texts]
    missing = Counter(token for row in rows for token in row)
    for token, count in missing.items():
        missing[token] = min(count, enough)
    found = []
    for text, row in zip(texts, rows, strict=True):
        if any(missing[token] > 0 for token in row):
            missing.subtract(row)
            found.append(text)
    return found


def measure_whole(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on peak memory, size and time; ``scratch`` holds the FP32 12L768H that ``compress_speed`` left."""
    work = scratch / "whole"
    work.mkdir()
    progress("a random teacher", 0.0)
    data, origin, texts = _prepare(work)
    recipes = ("--recipe", "quantize", "--recipe", "distil")
    profile = own_profile(work, "any-loss", max_drop=0.99)
    outcome = edgekit("compress", "ernie", *data, *recipes, "--profile", profile, "--out", work / "artifact")
    report.add(
        Row(
            "Peak memory of compressing ERNIE 12L768H: vocabulary, INT8 of the teacher, student, its INT8",
            Figure.exact(outcome.peak_bytes / 1e9),
            "GB",
            Goal(6, at_least=False),
            f"Summed over all processes every half second, shared memory once; {outcome.seconds / 60:.0f} minutes; "
            f"{texts:,} texts that hold every word of {origin}.",
        )
    )
    big = scratch / "12L768H" / "paddle"
    student = load_text_classifier(work / "artifact", options=RunOptions(threads=THREADS))
    reference = load_predictor(model_files(big, "12L768H"), "paddle", RunOptions(threads=THREADS))
    words = student.tokenizer.vocab_size
    calls = {"Paddle FP32": _call(reference, VOCAB_ROWS - 1000), "student": _call(student.predictor, words)}
    times = take_turns(calls, progress=progress)
    report.details["student ms"] = {name: list(np.round(each, 2)) for name, each in times.items()}
    what = "ERNIE 12L768H FP32 on Paddle oneDNN against its 4L312H student as shipped"
    medians = ", ".join(f"{name} {np.median(each):.2f} ms" for name, each in times.items())
    made = f"Shipped: {outcome.document['chosen']}, with {words:,} words after {origin}"
    gain = ratio(times["Paddle FP32"], times["student"])
    report.add(Row(f"{what}: time, 1x128", gain, "times faster", Goal(30), f"{medians}. {made}."))
    before = sum(file.stat().st_size for file in big.iterdir()) / 1e6
    after = sum((work / "artifact" / name).stat().st_size for name in ("model.onnx", VOCAB_NAME)) / 1e6
    note = f"{before:.1f} MB before, {after:.2f} MB after, vocabulary included. {made}."
    report.add(Row(f"{what}: size", Figure.exact(before / after), "times smaller", Goal(70), note))
    report.add(Row("Size of that student", Figure.exact(after), "MB", Goal(6.7, at_least=False)))


def _prepare(work: Path) -> tuple[list[str | Path], str, int]:
    """Teacher and texts as a command takes them, what the corpus is, and how many of its texts are the pool."""
    vocab = vocabulary()
    texts, origin = corpus(work)
    labelled = texts[:: len(texts) // (TRAIN_TEXTS + DEV_TEXTS)][: TRAIN_TEXTS + DEV_TEXTS]
    teacher, answers = divided_checkpoint(network("12L768H"), vocab, labelled)
    write_checkpoint(work / "teacher", teacher)
    pool = covering(texts, ErnieTokenizer(vocab))
    rows = [f"{label}\t{text}\n" for label, text in zip(answers, labelled, strict=True)]
    files = {"train.tsv": rows[::2], "dev.tsv": rows[1::2], "pool.txt": [f"{text}\n" for text in pool]}
    for name, lines in files.items():
        (work / name).write_text("".join(lines), encoding="utf-8")
    arguments: list[str | Path] = ["--teacher", work / "teacher", "--train", work / "train.tsv"]
    return [*arguments, "--dev", work / "dev.tsv", "--pool", work / "pool.txt"], origin, len(pool)


def _call(predictor: Predictor, words: int) -> Callable[[], object]:
    ids = np.random.default_rng(4).integers(5, words, (1, TOKENS))
    feed = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    return lambda: predictor.run(feed)
