"""Invented loan statements with risk labels, put together from a stock of clauses.

Nobody wrote these to a bank. A statement is one to five clauses: what the money is for, where income comes from,
how the applicant lives, and for each risk label one or two clauses that show it. The stock is in ``clauses/``, one
clause a line: ``[a|b]`` picks one of several wordings, ``{name}`` is filled from ``slots.txt`` or with a number made
here, and a line that starts with ``*`` is a clerk's note in the third person. The files ``not_LABEL.txt`` use a
label's words innocently (no other debts, the card is paid off every month), so that words alone decide nothing.

    python -m examples.statements.grammar --count 20000 --seed 7 --out statements.tsv

The same count and seed give the same statements on every run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from examples.statements.numerals import count as written_count
from examples.statements.numerals import money

NORMAL = "normal"
RISKS = (
    "debt_rollover",
    "frequent_borrowing",
    "vague_income",
    "exaggeration",
    "fabrication",
    "inducement",
)
LABELS = (NORMAL, *RISKS)

MIN_CHARACTERS = 8
MAX_CHARACTERS = 200
MAX_CLAUSES = 5
CLAUSES = Path(__file__).parent / "clauses"

# how many statements in a hundred carry 0, 1, 2 and 3 risk labels
RISK_COUNTS = (33, 44, 17, 6)

# clauses that would deny what a label's own clause says
DENIALS = {
    "debt_rollover": {"not_debt_rollover", "not_frequent_borrowing"},
    "frequent_borrowing": {"not_frequent_borrowing", "not_debt_rollover"},
    "vague_income": {"not_vague_income", "not_fabrication", "income"},
    "exaggeration": {"not_exaggeration"},
    "fabrication": {"not_fabrication", "not_vague_income", "circumstances"},
    "inducement": {"not_inducement"},
}

# one person keeps one job, one field and one age through a statement
IDENTITY = {"job", "trade", "unit", "place", "crop", "animal", "age", "young", "years"}

NUMBERS: dict[str, Callable[[Random], str]] = {
    "amount": lambda rng: money(rng, 1000 * rng.choice((12, 15, 25, 35, *range(10, 100, 10), *range(100, 850, 50)))),
    "small": lambda rng: money(rng, rng.choice((*range(2000, 10_000, 100), *range(10_000, 40_000, 1000)))),
    "monthly": lambda rng: money(rng, rng.randrange(4000, 15_000, 100)),
    "lowmonthly": lambda rng: money(rng, rng.randrange(2500, 4800, 100)),
    "payment": lambda rng: money(rng, rng.randrange(500, 4000, 100)),
    "yearly": lambda rng: money(rng, rng.randrange(30_000, 400_000, 5000)),
    "lowwage": lambda rng: money(rng, rng.randrange(2000, 6000, 500)),
    "bigwage": lambda rng: money(rng, rng.randrange(200_000, 900_000, 50_000)),
    "n": lambda rng: written_count(rng, 3, 9),
    "many": lambda rng: written_count(rng, 8, 40),
    "years": lambda rng: written_count(rng, 2, 12),
    "longyears": lambda rng: written_count(rng, 30, 45),
    "age": lambda rng: written_count(rng, 33, 62),
    "young": lambda rng: written_count(rng, 18, 29),
    "mu": lambda rng: written_count(rng, 5, 300),
    "days": lambda rng: written_count(rng, 5, 45),
}

CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")

COMMAS = ("，",) * 14 + (",", " ", "。", "；", "，，", "、")
ENDS = ("。",) * 9 + ("",) * 6 + ("！", "！！", "...", "……", "~", "哈", "？")


@dataclass(frozen=True)
class Statement:
    """One invented statement and its labels, in the order of ``LABELS``."""

    labels: tuple[str, ...]
    text: str

    def row(self) -> str:
        """The line of a TSV file that holds this statement, without its line end."""
        return f"{','.join(self.labels)}\t{self.text}"


@dataclass(frozen=True)
class Stock:
    """The lines of one clause file: those an applicant would say, and those a clerk would note."""

    said: tuple[str, ...]
    noted: tuple[str, ...]


@cache
def stock(name: str) -> Stock:
    """Read ``clauses/NAME.txt``."""
    lines = (CLAUSES / f"{name}.txt").read_text(encoding="utf-8").split("\n")
    return Stock(
        said=tuple(line for line in lines if line and not line.startswith("*")),
        noted=tuple(line[1:] for line in lines if line.startswith("*")),
    )


@cache
def pairs(name: str, separator: str) -> dict[str, str]:
    """Read a file of ``left SEPARATOR right`` lines; a line that starts with # is a remark."""
    lines = (CLAUSES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(separator, 1) for line in lines if not line.startswith("#"))


class Writer:
    """Writes one statement: keeps the identity of the person it is about, and one register."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.identity: dict[str, str] = {}
        self.is_note = rng.random() < 0.1

    def write(self, labels: tuple[str, ...]) -> str:
        """Compose a text that shows exactly ``labels``."""
        rng = self.rng
        clauses = [self.clause(name) for name in self.plan(labels)]
        for index in range(len(clauses)):
            if not self.is_note and rng.random() < 0.15:
                clauses[index] = rng.choice(stock("fillers").said) + rng.choice(("", "，")) + clauses[index]
        if rng.random() < 0.35:
            clauses.insert(0, self.clause("openings"))
        if rng.random() < 0.18:
            clauses.append(self.clause("closings"))
        text = self.punctuate(clauses)
        if not self.is_note and rng.random() < 0.05:
            text = rng.choice(stock("quotes").said) + text
        return self.slip(text) if rng.random() < 0.15 else text

    def plan(self, labels: tuple[str, ...]) -> list[str]:
        """Choose the files the clauses come from, and their order."""
        rng = self.rng
        if labels == (NORMAL,):
            chances = {"purpose": 0.75, "income": 0.6, "circumstances": 0.35}
            names = [name for name, chance in chances.items() if rng.random() < chance]
            names += [f"not_{risk}" for risk in rng.sample(RISKS, rng.choice((0, 0, 1, 1, 1, 2)))]
            if not {"purpose", "income"} & set(names) and len(names) < 2:
                names.append(rng.choice(("purpose", "income")))
        else:
            denied = set[str]().union(*(DENIALS[label] for label in labels))
            chances = {
                "purpose": 0.25 if "debt_rollover" in labels else 0.5,
                "income": 0.35,
                "circumstances": 0.25,
                f"not_{rng.choice(RISKS)}": 0.25,
            }
            innocent = [name for name, chance in chances.items() if name not in denied and rng.random() < chance]
            shown = list(labels) + [rng.choice(labels)] * (rng.random() < 0.25)
            names = shown + innocent[: MAX_CLAUSES - len(shown)]
            names.sort(key=lambda name: name in labels)  # the innocent part first, as people tell it
        if rng.random() < 0.6:
            rng.shuffle(names)
        return names

    def clause(self, name: str) -> str:
        """Draw a line of one clause file and fill it in."""
        lines = stock(name).noted if self.is_note else stock(name).said
        return self.fill(self.rng.choice(lines))

    def fill(self, pattern: str) -> str:
        """Turn a clause pattern into words."""
        words = CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), pattern)
        return SLOT.sub(lambda match: self.slot(match[1]), words)

    def slot(self, name: str) -> str:
        """A value for ``{name}``; what belongs to the person's identity is drawn once."""
        if name in self.identity:
            return self.identity[name]
        number = NUMBERS.get(name)
        value = number(self.rng) if number else self.rng.choice(pairs("slots", " = ")[name].split("|"))
        if name in IDENTITY:
            self.identity[name] = value
        return value

    def punctuate(self, clauses: list[str]) -> str:
        """Join clauses the way one person punctuates: mostly tidy, at times with blanks or full stops."""
        comma = self.rng.choice(COMMAS)
        text = "".join(clause + (comma if self.rng.random() < 0.8 else "。") for clause in clauses)
        text = text.rstrip("，。,；、 ")
        if comma in {",", " "}:
            text = text.replace("，", comma)
        return text + self.rng.choice(ENDS)

    def slip(self, text: str) -> str:
        """Make one small mistake of typing: a wrong homophone, a doubled or a lost character."""
        rng = self.rng
        typos = [(right, wrong) for right, wrong in pairs("typos", "=").items() if right in text]
        if typos and rng.random() < 0.6:
            right, wrong = rng.choice(typos)
            return text.replace(right, wrong, 1)
        place = rng.randrange(len(text))
        if rng.random() < 0.4:
            return text[:place] + text[place] + text[place:]
        if text[place] in "不没无未非":
            return text  # losing one of these would turn the meaning round, and the label with it
        return text[:place] + text[place + 1 :]


def generate(count: int, seed: int) -> Iterator[Statement]:
    """Yield ``count`` distinct statements of 8 to 200 characters; the same for the same ``seed``."""
    rng = Random(seed)
    seen: set[str] = set()
    while len(seen) < count:
        risks = rng.choices(range(len(RISK_COUNTS)), RISK_COUNTS)[0]
        drawn = rng.sample(RISKS, risks)
        labels = tuple(label for label in RISKS if label in drawn) or (NORMAL,)
        text = Writer(rng).write(labels)
        if MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS and text not in seen:
            seen.add(text)
            yield Statement(labels, text)


def main() -> None:
    """Write a TSV file of statements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True, help="how many statements")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True, help="the TSV file to write")
    arguments = parser.parse_args()
    rows = (statement.row() + "\n" for statement in generate(arguments.count, arguments.seed))
    with arguments.out.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(rows)


if __name__ == "__main__":
    main()
