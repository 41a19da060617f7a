"""Public texts into train, dev and test, by text: what reads the same never stands on both sides.

The data lies beside the checkout (``../shared/data``), is nobody's on this project and stays out of it; whoever lacks
it can run every benchmark that does not measure accuracy.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
TASKS = ("finnsp", "finese")
FREQUENT = 10  # FinESE's labels in the measurement: the rest have too few texts
SHARES = (("train", 0.70), ("dev", 0.15), ("test", 0.15))
SEED = 1
_NO_WORD = re.compile(r"[\W_]+")

Row = tuple[str, str]  # label, text


@dataclass(frozen=True)
class Task:
    """One task's files, ``label<TAB>text``, and its labels, the most frequent first."""

    name: str
    train: Path
    dev: Path
    test: Path
    labels: tuple[str, ...]


def same_text_key(text: str) -> str:
    """What is left of a text without white space and punctuation; equal keys count as the same text."""
    return _NO_WORD.sub("", text.lower()) or text


def split_by_text(rows: Sequence[Row], *, seed: int = SEED) -> dict[str, list[Row]]:
    """Rows to parts, in their order; which part a text belongs to depends on the seed and its own characters only.

    A text's place is a hash, so that a row added to the data moves no other one.
    """
    parts: dict[str, list[Row]] = {name: [] for name, _ in SHARES}
    for label, text in rows:
        digest = hashlib.sha256(f"{seed} {same_text_key(text)}".encode()).digest()
        parts[_part(int.from_bytes(digest[:8], "big") / 2**64)].append((label, text))
    return parts


def _part(place: float) -> str:
    """The part that a place from 0 to 1 falls into."""
    for name, share in SHARES:
        if place < share:
            return name
        place -= share
    return SHARES[-1][0]


def frequent_only(rows: Sequence[Row], count: int) -> list[Row]:
    """The rows of the ``count`` most frequent labels; ties by name."""
    counts = Counter(label for label, _ in rows)
    chosen = sorted(counts, key=lambda label: (-counts[label], label))[:count]
    return [row for row in rows if row[0] in chosen]


def write_task(name: str, out: Path, shared: Path = SHARED) -> Task:
    """Write ``name``'s three files into ``out``; the same bytes every time."""
    with gzip.open(shared / "text_fincuge" / f"{name}.tsv.gz", "rt", encoding="utf-8", newline="\n") as lines:
        rows = [(label, " ".join(text.split())) for label, _, text in (line.partition("\t") for line in lines)]
    rows = frequent_only([row for row in rows if row[1]], FREQUENT)
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for part, content in split_by_text(rows).items():
        files[part] = out / f"{name}-{part}.tsv"
        files[part].write_text("".join(f"{label}\t{text}\n" for label, text in content), encoding="utf-8")
    labels = Counter(label for label, _ in rows)
    return Task(name, files["train"], files["dev"], files["test"], tuple(label for label, _ in labels.most_common()))


def write_pool(out: Path, shared: Path = SHARED) -> Path:
    """Every sentence of the bank's question pairs once, a line each: the unlabelled pool."""
    sentences: dict[str, None] = {}
    for file in sorted((shared / "text_bank_pairs").glob("*.tsv.gz")):
        with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                sentences |= {" ".join(row[side].split()): None for side in ("s1", "s2") if row[side]}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"{sentence}\n" for sentence in sentences if sentence), encoding="utf-8")
    return out
