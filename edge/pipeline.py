"""One application from its bytes to its receipt: load, read, extract, classify, assess, score.

    submission -> pages -> lines -> fields ---+
               -> purpose -> text labels -----+-> findings -> score, reasons -> receipt
               -> transactions -> behaviour --+
               -> score inputs -> further scores, where the policy names any

A document that cannot be decoded refuses the whole application before anything is scored, so a receipt never rests on
a part of what was handed in. Every document's header is looked at before the first page is read; pages are decoded one
after another and dropped once read, so that twenty large scans need no more memory than one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.errors import InputError
from edge import receipt as receipts
from edge.application import Application, Document, Submission, Transaction
from edge.documents.checks import cross_check
from edge.documents.extract import extract
from edge.documents.extraction import Extraction, Problem, problem
from edge.documents.layout import ReadPage
from edge.documents.stamps import COVERED, without_stamps
from edge.policy import Language, Policy
from edge.purpose import ClassifiesText, Purpose, read_purpose
from edge.receipt import Receipt
from edge.scoring import DocumentFindings, Findings, Proof, WeighedTransaction, assess
from runtime.behaviour import BehaviourResult
from runtime.budget import UNLIMITED, Budget, each_within
from runtime.images import Page, load_pages
from runtime.ocr.line import Line

_KEPT = 1 / 3  # of a request's time, for what comes after the pages of a long scan


class ReadsLines(Protocol):
    """What the scorer needs of ``runtime.ocr.pipeline.OcrPipeline``."""

    def read(self, image: NDArray[np.uint8], budget: Budget = UNLIMITED) -> tuple[Line, ...]:
        """The lines of a picture, (H, W, 3) uint8 BGR."""
        ...


class AssessesBehaviour(Protocol):
    """What the scorer needs of ``runtime.behaviour.BehaviourModel``."""

    def assess(self, transactions: Sequence[Mapping[str, object]], now: datetime | None = None) -> BehaviourResult:
        """The probability of trouble by a history as of ``now``."""
        ...


class GivesScore(Protocol):
    """What the scorer needs of ``edge.further_score.FurtherScore``."""

    def of(self, inputs: Mapping[str, Any]) -> float:
        """The probability for what a model is fed, by its inputs' names."""
        ...


@dataclass(frozen=True)
class Identity:
    """Who scores: what a receipt repeats about the device, its bundle and its models."""

    device_id: str
    profile: str
    bundle: receipts.Bundle
    models: Iterable[receipts.Model]
    offline: receipts.Offline


@dataclass(frozen=True, eq=False)
class ScoredPage:
    """A page as it was read: all its lines, and the fields that stand on it."""

    file: str
    index: int
    lines: tuple[Line, ...]
    fields: Mapping[str, receipts.Box]


@dataclass(frozen=True, eq=False)
class Scored:
    """A receipt with the pages that it rests on, for drawing."""

    receipt: Receipt
    pages: tuple[ScoredPage, ...]


class Scorer:
    """Loaded models and a policy. ``score`` changes nothing, so threads may share one."""

    def __init__(
        self,
        ocr: ReadsLines,
        text: ClassifiesText,
        behaviour: AssessesBehaviour,
        policy: Policy,
        identity: Identity,
        *,
        scores: Mapping[str, GivesScore] | None = None,
        language: Language = "zh",
        clock: Callable[[], datetime] = receipts.now,
    ) -> None:
        self._ocr, self._text, self._behaviour, self._scores = ocr, text, behaviour, scores or {}
        self._policy, self._identity, self._language, self._clock = policy, identity, language, clock

    def score(self, submission: Submission, budget: Budget = UNLIMITED, *, moment: datetime | None = None) -> Scored:
        """Score one application.

        Args:
            submission: The application and its files.
            budget: What the request may still spend; asked before each stage and each page.
            moment: As of when, with a zone; by default now.

        Raises:
            InputError: A document cannot be decoded, the purpose cannot be classified, or inputs of a further score do
                not fit its model; the problem names it.
            BackendError: A model failed.
            PolicyError: The policy does not know a label of the text model.
            DeadlineError: The budget's time was up.
            ClientGoneError: The budget's client went away.
        """
        application, timings = submission.application, _Timings(budget)
        moment = moment or self._clock()
        with timings.stage("load"):
            opened = [_opened(document, submission.files[document.file]) for document in application.documents]
        kept_s = budget.remaining_s * _KEPT
        reads = [self._read_all(pages, timings, budget, kept_s) for pages in opened]
        with timings.stage("fields"):
            extractions = [
                _extracted(document.kind, read) for document, read in zip(application.documents, reads, strict=True)
            ]
        for place, document in enumerate(application.documents):
            if budget.remaining_s >= kept_s:
                seen = extractions[place]
                extractions[place] = self._beneath_stamp(document, submission, reads[place], seen, timings, budget)
        with timings.stage("fields"):
            papers = self._papers(application, reads, extractions, moment)
        with timings.stage("text"):
            purpose = read_purpose(application.loan.purpose, self._text, self._policy.text, budget)
        with timings.stage("behaviour"):
            history = [entry.model_dump(mode="json", exclude_none=True) for entry in application.transactions]
            behaviour = self._behaviour.assess(history, moment)
        scores = self._further(application, timings)
        with timings.stage("score"):
            findings = _findings(application, papers, purpose, behaviour, scores)
            outcome = assess(findings, self._policy, self._language)
        receipt = Receipt(
            application_id=application.application_id,
            time=moment,
            device_id=self._identity.device_id,
            profile=self._identity.profile,
            bundle=self._identity.bundle,
            score=outcome.score,
            risk_level=outcome.risk_level,
            decision=outcome.decision,
            reasons=list(outcome.reasons),
            documents=[paper.in_receipt() for paper in papers],
            text_risk=receipts.TextRisk(labels={label: round(value, 6) for label, value in purpose.labels.items()}),
            behaviour=_behaviour(behaviour),
            scores={name: round(value, 6) for name, value in scores.items()},
            models=list(self._identity.models),
            offline=self._identity.offline,
            timings_ms=timings.finished(),
        )
        return Scored(receipt, tuple(page for paper in papers for page in paper.scored_pages()))

    def _further(self, application: Application, timings: _Timings) -> dict[str, float]:
        """What further models say of an application that brings their inputs."""
        if not self._scores:
            return {}
        with timings.stage("scores"):
            given = application.score_inputs
            return {name: model.of(given[name]) for name, model in self._scores.items() if name in given}

    def _papers(
        self,
        application: Application,
        reads: Sequence[_ReadDocument],
        extractions: Sequence[Extraction],
        moment: datetime,
    ) -> list[_Paper]:
        problems = cross_check(application, extractions, self._policy.documents, moment.date())
        pages = [read.pages for read in reads]
        return [_Paper(*parts) for parts in zip(application.documents, pages, extractions, problems, strict=True)]

    def _beneath_stamp(
        self,
        document: Document,
        submission: Submission,
        read: _ReadDocument,
        extraction: Extraction,
        timings: _Timings,
        budget: Budget,
    ) -> Extraction:
        """The same with what a stamp may have covered, from its pages read once more without red."""
        covered = [name for name in COVERED.get(document.kind, ()) if name not in extraction.fields]
        if not covered or not extraction.fields:
            return extraction
        again = []
        for page in islice(_opened(document, submission.files[document.file]), len(read.pages)):
            if page.lines is not None:
                return extraction  # not read from a picture
            again.append(self._read(replace(page, image=without_stamps(page.image)), timings, budget))
        return extraction.filled_from(extract(document.kind, again), covered)

    def _read_all(self, pages: Iterator[Page], timings: _Timings, budget: Budget, kept_s: float) -> _ReadDocument:
        read, of = [], 0
        for page in each_within(lambda: timings.stage("load"), pages):
            read.append(self._read(page, timings, budget))
            of = page.of
            if page.lines is None and budget.remaining_s < kept_s:
                break  # a long scan: a person looks at the rest, and somebody still waits for the score
        return _ReadDocument(read, of)

    def _read(self, page: Page, timings: _Timings, budget: Budget) -> ReadPage:
        with timings.stage("ocr"):
            lines = self._ocr.read(page.image, budget) if page.lines is None else page.lines
        return ReadPage(lines, page.width, page.height)


@dataclass(frozen=True, eq=False)
class _ReadDocument:
    """The pages of a document that were read, and how many it has."""

    pages: Sequence[ReadPage]
    of: int


def _extracted(kind: str, read: _ReadDocument) -> Extraction:
    """What stands on the pages; those of a long document that were not read are a problem of their own."""
    extraction = extract(kind, read.pages)
    if read.of == len(read.pages):
        return extraction
    unread = problem(kind, "pages_unread", pages=read.of, count=len(read.pages))
    known = [
        each for each in extraction.problems if each.code != "total_mismatch"
    ]  # what was not read is missing in it
    return replace(extraction, problems=(*known, unread))


@dataclass(frozen=True, eq=False)
class _Paper:
    """One document with all that was made of it."""

    document: Document
    pages: Sequence[ReadPage]
    extraction: Extraction
    problems: tuple[Problem, ...]

    def in_receipt(self) -> receipts.ReadDocument:
        return receipts.ReadDocument(
            kind=self.document.kind,
            file=self.document.file,
            fields={
                name: receipts.ReadField(
                    value=field.value, confidence=round(field.confidence, 4), box=field.box, page=field.page
                )
                for name, field in self.extraction.fields.items()
            },
            problems=[_problem(each) for each in self.problems],
        )

    def scored_pages(self) -> Iterator[ScoredPage]:
        for index, page in enumerate(self.pages):
            fields = {name: field.box for name, field in self.extraction.fields.items() if field.page == index}
            yield ScoredPage(self.document.file, index, page.lines, fields)


def _problem(found: Problem) -> receipts.DocumentProblem:
    place = found.place
    return receipts.DocumentProblem(
        code=found.code,
        text=found.text,
        field=found.field,
        rows=list(found.rows),
        page=place.page if place else None,
        box=place.box if place else None,
    )


def _findings(
    application: Application,
    papers: Sequence[_Paper],
    purpose: Purpose,
    behaviour: BehaviourResult,
    scores: Mapping[str, float],
) -> Findings:
    incomes = [(paper.document.file, paper.extraction.fields.get("monthly_income")) for paper in papers]
    proofs = [Proof(field.value, file, field.page, field.box) for file, field in incomes if field]
    return Findings(
        text_labels=purpose.labels,
        behaviour=behaviour.probability,
        top_transactions=[
            WeighedTransaction(index, weight, _in_words(application.transactions[index]))
            for index, weight in behaviour.top
        ],
        behaviour_problems=behaviour.problems,
        documents=[DocumentFindings(paper.document.kind, paper.document.file, paper.problems) for paper in papers],
        declared_income=application.applicant.declared_monthly_income,
        proof=min(proofs, key=lambda proof: proof.income, default=None),
        instalment=application.loan.amount / application.loan.term_months,
        phrases=purpose.phrases,
        purpose_unreadable=purpose.unreadable,
        scores=scores,
    )


def _in_words(transaction: Transaction) -> str:
    return f"{transaction.time:%Y-%m-%d %H:%M} {transaction.amount:+,.2f} {transaction.counterparty}".rstrip()


class _Timings:
    """Milliseconds of each stage and of the whole."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._begin = time.perf_counter()
        self._stages = {"load": 0.0, "ocr": 0.0}  # an application without documents has them too

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        with self._budget.stage(name):
            yield
        self._stages[name] = round(self._stages.get(name, 0.0) + _milliseconds(begin), 1)

    def finished(self) -> dict[str, float]:
        return self._stages | {"total": _milliseconds(self._begin)}


def _milliseconds(begin: float) -> float:
    return round((time.perf_counter() - begin) * 1000, 1)


def _opened(document: Document, data: bytes) -> Iterator[Page]:
    """The pages of a document whose header was found good; decoded one after another."""
    with _naming(document):
        pages = load_pages(data, cut=True)

    def decoded() -> Iterator[Page]:
        with _naming(document):
            yield from pages

    return decoded()


@contextmanager
def _naming(document: Document) -> Iterator[None]:
    """Let an error say which document it is about."""
    try:
        yield
    except InputError as error:
        problem = f"The {document.kind} {document.file!r} cannot be used: {error.problem}"
        raise type(error)(problem, state=error.state, remedy=error.remedy) from error


def _behaviour(result: BehaviourResult) -> receipts.Behaviour:
    return receipts.Behaviour(
        probability=result.probability,
        top_transactions=[
            receipts.TopTransaction(index=index, weight=round(weight, 6)) for index, weight in result.top
        ],
    )
