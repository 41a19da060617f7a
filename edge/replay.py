"""A decision scored again: the stored application, on the bundle that decided, as of the moment of then.

Everything that made the score is compared: fields, problems, probabilities, reasons, score, level and decision. The
authority of that day is not: it was the device's, not the models'. Where something differs, what the two machines did
differently is said beside it: back end, precision, processor, version of the kit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from devices.errors import RecordErasedError, ReplayError
from edge.application import Submission, from_parts, papers_of, parse_application
from edge.decide import before_authority
from edge.journal.entry import Entry
from edge.journal.reader import JournalReader
from edge.receipt import Model, Receipt

_ASIDE = frozenset({"decision_id", "time", "device_id", "profile", "bundle", "models", "offline", "timings_ms"})
_SHOWN = 40  # characters of a value


@dataclass(frozen=True)
class Stored:
    """What the journal holds of a decision.

    Attributes:
        entry: Of the decision.
        receipt: As it was given.
        submission: As it came.
    """

    entry: Entry
    receipt: Receipt
    submission: Submission

    @property
    def moment(self) -> datetime:
        """As of when it was scored."""
        return self.receipt.time


@dataclass(frozen=True)
class Difference:
    """One value that is not the same: where in the receipt, then, and now."""

    place: str
    then: Any
    now: Any

    @property
    def is_detail(self) -> bool:
        """Whether it is only where on a page something was seen, or how surely."""
        return ".box" in self.place or self.place.endswith(".confidence")

    def __str__(self) -> str:
        return f"{self.place}: {_cut(self.then)} -> {_cut(self.now)}"


@dataclass(frozen=True)
class Replayed:
    """The comparison.

    Attributes:
        differences: In the order of the receipt; none where the two are identical.
        causes: What the machines did differently, a sentence each; also where the outcome is the same.
    """

    differences: tuple[Difference, ...]
    causes: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every value is the same."""
        return not self.differences

    @property
    def same_outcome(self) -> bool:
        """Whether score, level and decision are the same."""
        return not {"score", "risk_level", "decision"} & {each.place for each in self.differences}


def stored(journal: JournalReader, decision_id: str) -> Stored:
    """What the journal holds of a decision.

    Raises:
        DecisionNotFoundError: It is not in this journal.
        ReplayError: What it rested on was erased or retired.
        JournalError: The journal cannot be read.
    """
    entry = journal.decision(decision_id)
    try:
        raw = journal.record(entry, "application")
        papers = papers_of(parse_application(raw))
        files = {name: journal.record(entry, f"document/{index}") for name, index in papers.items()}
        receipt = Receipt.model_validate_json(journal.record(entry, "receipt"))
    except ValidationError as error:
        raise ReplayError(
            f"The receipt of {decision_id} was written by another version of the kit "
            f"({entry.body.get('machine', {}).get('kit', 'not kept')}), which this one cannot compare.",
            remedy="Replay it with the kit of that version.",
        ) from error
    except RecordErasedError as error:
        raise ReplayError(
            f"The decision {decision_id} cannot be scored again: {error.problem}",
            remedy="Ask headquarters, which may hold its own copy if the law lets it.",
        ) from error
    return Stored(entry, receipt, from_parts(raw, files))


def compare(then: Receipt, now: Receipt, machine_then: Mapping[str, str], machine_now: Mapping[str, str]) -> Replayed:
    """Compare two receipts of the same application, the first as the journal keeps it.

    Args:
        then: From the journal.
        now: Scored again.
        machine_then: Of the journal's entry.
        machine_now: Of this machine.
    """
    before, after = (
        {name: value for name, value in each.model_dump(mode="json").items() if name not in _ASIDE}
        for each in (before_authority(then), before_authority(now))
    )
    return Replayed(
        tuple(_differences("", before, after)),
        (*_of_models(then.models, now.models), *_of_machines(machine_then, machine_now)),
    )


def replay(of: Stored, score: Callable[[Submission, datetime], Receipt], machine: Mapping[str, str]) -> Replayed:
    """Score ``of`` again and compare.

    Args:
        of: The decision.
        score: With the bundle that decided, as of a moment.
        machine: Of this machine, as a desk is told.

    Raises:
        EdgeKitError: As of ``score``.
    """
    return compare(of.receipt, score(of.submission, of.moment), of.entry.body.get("machine", {}), machine)


def _differences(place: str, then: Any, now: Any) -> Iterator[Difference]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in {**then, **now}:
            yield from _differences(f"{place}.{name}" if place else name, then.get(name), now.get(name))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, pair in enumerate(zip(then, now, strict=True)):
            yield from _differences(f"{place}[{index}]", *pair)
    elif then != now:
        yield Difference(place, then, now)


def _of_models(then: list[Model], now: list[Model]) -> Iterator[str]:
    before, after = ({model.name: model for model in models} for models in (then, now))
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            yield f"The model {name} is in one of the two only."
            continue
        for what in ("backend", "precision", "sha256"):
            if getattr(one, what) != getattr(other, what):
                yield f"The {what} of {name} was {getattr(one, what)} and is {getattr(other, what)}."


def _of_machines(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name, words in (("cpu", "processor"), ("kit", "version of the kit")):
        if then.get(name) != now.get(name):
            yield f"The {words} was {then.get(name, 'not kept')} and is {now.get(name, 'unknown')}."


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
