"""The receipt: what was decided about one application, from what, by which models, and how it is shown.

The keys are those of the contract; evidence, problems and fields say also where on a page they stand. A receipt is
written once and never changed; what a person decides afterwards is kept beside it.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from edge.documents.extraction import FIELD_NAMES, KIND_NAMES

RiskLevel = Literal["low", "medium", "high"]
Decision = Literal["pass", "review"]
Authority = Literal["full", "reduced", "review_only", "stopped"]
Probability = Annotated[float, Field(ge=0, le=1)]
Index = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


def _rounded(box: Corners) -> Corners:
    a, b, c, d = ((round(x, 1), round(y, 1)) for x, y in box)
    return a, b, c, d


Box = Annotated[Corners, AfterValidator(_rounded)]  # pixels, to a tenth


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Bundle(_Schema):
    """The bundle that scored; ``sha256`` of its manifest."""

    name: str
    version: str
    sha256: Sha256


class Model(_Schema):
    """One model as it was loaded."""

    name: str
    sha256: Sha256
    backend: str
    precision: str


class Offline(_Schema):
    """Under which authority the device decided.

    Attributes:
        since: When it was last in contact with headquarters; None while that is recent.
        authority: What it might decide by itself.
        journal: Short code of the journal's entry, as ``1042-7F3KQ9TD``; not in the receipt that the entry keeps.
    """

    since: AwareDatetime | None
    authority: Authority
    journal: str | None = Field(default=None, exclude_if=lambda code: code is None)


def _nothing(value: object) -> bool:
    return value is None or value == []


class Phrase(_Schema):
    """Part of the loan's purpose: the characters from ``start`` up to, not with, ``end``."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]


class Evidence(_Schema):
    """One thing that a reason rests on, and where a person finds it. What does not apply is left out.

    Attributes:
        text: For people, a sentence or less.
        code: What it is about: a label of the text model, the code of a problem, or the name of a missing part.
        file: The document, as the application names it.
        page: Of the file, counted from 0.
        box: In pixels of that page; where ``rows`` are given, around the first of them.
        field: Of the document.
        rows: Of the statement, counted from 0 as in the value of its field.
        phrase: In the purpose.
        transaction: Index into the application's list.
    """

    text: str
    code: str | None = Field(default=None, exclude_if=_nothing)
    file: str | None = Field(default=None, exclude_if=_nothing)
    page: Index | None = Field(default=None, exclude_if=_nothing)
    box: Box | None = Field(default=None, exclude_if=_nothing)
    field: str | None = Field(default=None, exclude_if=_nothing)
    rows: list[Index] = Field(default=[], exclude_if=_nothing)
    phrase: Phrase | None = Field(default=None, exclude_if=_nothing)
    transaction: Index | None = Field(default=None, exclude_if=_nothing)


class Reason(_Schema):
    """One part of the score.

    Attributes:
        code: For programs.
        text: For people.
        contribution: Points; the contributions of all reasons add up to the score exactly.
        evidence: What it rests on.
    """

    code: str
    text: str
    contribution: Annotated[int, Field(ge=0, le=100)]
    evidence: list[Evidence]


class ReadField(_Schema):
    """A field of a document: its value, the least confidence of the lines it was read from, and where it stands.

    ``page`` counts from 0 and is left out on the first one, the only one that pictures have.
    """

    value: Any
    confidence: Probability
    box: Box
    page: Index = Field(default=0, exclude_if=lambda page: page == 0)


class DocumentProblem(_Schema):
    """Something about a document that a person should look at; ``field`` None where it concerns the whole.

    ``rows``, ``page`` and ``box`` as in ``Evidence``.
    """

    code: str
    text: str
    field: str | None
    rows: list[Index] = Field(default=[], exclude_if=_nothing)
    page: Index | None = Field(default=None, exclude_if=_nothing)
    box: Box | None = Field(default=None, exclude_if=_nothing)


class ReadDocument(_Schema):
    """One document with what was read from it."""

    kind: str
    file: str
    fields: dict[str, ReadField]
    problems: list[DocumentProblem]


class TextRisk(_Schema):
    """Probability of each label of the text model."""

    labels: dict[str, Probability]


class TopTransaction(_Schema):
    """A transaction that moved the behaviour score; ``index`` into the application's list."""

    index: Index
    weight: float


class Behaviour(_Schema):
    """The behaviour model's answer; ``probability`` None where the history is too short to ask it."""

    probability: Probability | None
    top_transactions: list[TopTransaction]


class Receipt(_Schema):
    """The whole receipt; field by field the contract's.

    ``scores`` is what further models said, by the policy's names; left out where the policy names none.
    """

    decision_id: uuid.UUID = Field(default_factory=uuid.uuid4)
    application_id: str
    time: AwareDatetime
    device_id: str
    profile: str
    bundle: Bundle
    score: Annotated[int, Field(ge=0, le=100)]
    risk_level: RiskLevel
    decision: Decision
    reasons: list[Reason]
    documents: list[ReadDocument]
    text_risk: TextRisk
    behaviour: Behaviour
    scores: dict[str, Probability] = Field(default={}, exclude_if=lambda scores: not scores)
    models: list[Model]
    offline: Offline
    timings_ms: dict[str, float]

    def to_json(self) -> str:
        """The receipt as one JSON document, Chinese readable, ending in a line break."""
        return self.model_dump_json(indent=2) + "\n"


def now() -> datetime:
    """The time for a receipt: to the second, with the device's zone."""
    return datetime.now().astimezone().replace(microsecond=0)


_LEVEL_TEXT: dict[RiskLevel, tuple[str, str]] = {
    "low": ("低风险", "green"),
    "medium": ("中风险", "yellow"),
    "high": ("高风险", "red"),
}
_DECISION_TEXT: dict[Decision, str] = {"pass": "通过", "review": "转人工复核"}
_ROWS_SHOWN = 3


def render(receipt: Receipt) -> RenderableType:
    """The receipt as tables for a terminal: Chinese for the clerk, the codes for whoever is called for help."""
    level, colour = _LEVEL_TEXT[receipt.risk_level]
    head = Table.grid(padding=(0, 2))
    head.add_row("申请 application", escape(receipt.application_id))
    head.add_row("决定 decision", f"[bold {colour}]{_DECISION_TEXT[receipt.decision]}[/] ({receipt.decision})")
    head.add_row("评分 score", f"[bold {colour}]{receipt.score}/100  {level}[/] ({receipt.risk_level})")
    head.add_row("编号 decision_id", str(receipt.decision_id))
    head.add_row("时间 time", receipt.time.isoformat())
    bundle = f"{receipt.bundle.name} {receipt.bundle.version} (sha256 {receipt.bundle.sha256[:12]}...)"
    head.add_row("设备 device", escape(f"{receipt.device_id}, {receipt.profile}, {bundle}"))
    since = f", 离线自 since {receipt.offline.since.isoformat()}" if receipt.offline.since else ""
    head.add_row("授权 authority", f"{receipt.offline.authority}{since}")
    if receipt.offline.journal:
        head.add_row("日志 journal", receipt.offline.journal)
    parts = [head, _reasons(receipt), *(_document(document) for document in receipt.documents)]
    return Group(*parts, _assessments(receipt), _models(receipt))


def _reasons(receipt: Receipt) -> Table:
    table = Table("分值", "原因", "依据", "code", title="评分原因 reasons", title_justify="left")
    table.columns[0].justify = "right"
    for reason in receipt.reasons:
        table.add_row(
            str(reason.contribution),
            _whole(reason.text),
            _whole("\n".join(each.text for each in reason.evidence)),
            _whole(reason.code),
        )
    table.add_section()
    table.add_row(str(sum(reason.contribution for reason in receipt.reasons)), "合计 score")
    return table


def _document(document: ReadDocument) -> Table:
    names = FIELD_NAMES.get(document.kind, {})
    title = f"{KIND_NAMES.get(document.kind, '')} {document.kind}: {document.file}"
    table = Table("字段", "读取值", "置信度", title=Text(title), title_justify="left")
    for name, read in document.fields.items():
        table.add_row(f"{names.get(name, '')} {name}", _whole(_value(read.value)), f"{read.confidence:.2f}")
    for problem in document.problems:
        table.add_row(_whole(problem.field or "-"), _whole(problem.text, "yellow"), _whole(problem.code, "yellow"))
    return table


def _whole(text: str, style: str = "") -> Text:
    """Text that is broken where a column ends, never cut: Chinese has no spaces at which rich would break it."""
    return Text(text, style=style, overflow="fold")


def _value(value: object) -> str:
    if not isinstance(value, list):
        return "?" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)
    lines = ["  ".join(_value(cell) for cell in row.values()) for row in value[:_ROWS_SHOWN]]
    more = [f"... 共 {len(value)} 行"] if len(value) > _ROWS_SHOWN else []
    return "\n".join(lines + more)


def _assessments(receipt: Receipt) -> Table:
    table = Table("模型判断", "结果", title="模型判断 assessments", title_justify="left")
    labels = sorted(receipt.text_risk.labels.items(), key=lambda pair: -pair[1])
    table.add_row("用途文本 text_risk", Text("  ".join(f"{label} {probability:.2f}" for label, probability in labels)))
    probability = receipt.behaviour.probability
    top = ", ".join(f"#{item.index} ({item.weight:.2f})" for item in receipt.behaviour.top_transactions)
    said = "未评估" if probability is None else f"{probability:.2f}" + (f"，主要交易 {top}" if top else "")
    table.add_row("账户行为 behaviour", Text(said))
    for name, value in receipt.scores.items():
        table.add_row(f"附加模型 {name}", f"{value:.2f}")
    return table


def _models(receipt: Receipt) -> Table:
    table = Table("model", "backend", "precision", "sha256", title="模型 models", title_justify="left")
    for model in receipt.models:
        table.add_row(model.name, model.backend, model.precision, model.sha256[:12] + "...")
    if receipt.timings_ms:
        table.caption = "  ".join(
            f"{stage} {milliseconds:.0f} ms" for stage, milliseconds in receipt.timings_ms.items()
        )
    return table
