"""A bank's policy: how much each finding weighs and how reasons are worded. One TOML file, one form.

``examples/policy.toml`` explains every key. The form makes two promises that scoring rests on: the points of all
parts, five and one for each further score, add up to 100, and more risk never weighs less.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from string import Template
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from devices.errors import PolicyError
from devices.malformed import place_and_reason
from edge.calibration import UNCALIBRATED, Calibration
from edge.journal.policy import JournalPolicy
from edge.offline.policy import OfflinePolicy, ReviewPolicy
from edge.offline.sync_policy import SyncPolicy

Language = Literal["zh", "en"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Points = Annotated[int, Field(ge=0, le=100)]
Days = Annotated[int, Field(ge=0, le=3650)]
ScoreName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _knows_only_what(text: str) -> str:
    template = Template(text)
    if not template.is_valid() or template.get_identifiers() != ["what"]:
        raise ValueError("the text must hold $what and no other name after a $")
    return text


class Wording(_Schema):
    """A word in both languages.

    Attributes:
        zh: In Chinese.
        en: In English.
    """

    zh: str
    en: str

    def in_language(self, language: Language) -> str:
        """The word in one of them."""
        return self.zh if language == "zh" else self.en


class ReasonText(_Schema):
    """The sentence of a reason; ``$what`` is filled in.

    Attributes:
        zh: In Chinese.
        en: In English.
    """

    zh: Annotated[str, AfterValidator(_knows_only_what)]
    en: Annotated[str, AfterValidator(_knows_only_what)]

    def filled(self, language: Language, what: str) -> str:
        """The sentence with ``what`` in it."""
        return Template(self.zh if language == "zh" else self.en).substitute(what=what)


class Levels(_Schema):
    """From which score on a risk is medium, and high.

    Attributes:
        medium_from: Scores from here on are medium risk.
        high_from: From here on high risk; only low risk can pass without a person.
    """

    medium_from: Annotated[int, Field(ge=1, le=100)]
    high_from: Annotated[int, Field(ge=1, le=100)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high_from < self.medium_from:
            raise ValueError(f"high_from is {self.high_from}, below medium_from, {self.medium_from}")
        return self


class LabelPolicy(Wording):
    """How much a label of the text model counts.

    Attributes:
        weight: When it is certain, from 0 (no risk) to 1 (all points).
    """

    weight: Share


class TextPolicy(_Schema):
    """The text model's part.

    Attributes:
        points: The most that it gives.
        floor: Probabilities up to here count nothing; from here they count in proportion.
        review_from: A risk label as probable as this goes to a person, whatever the score.
        labels: By the model's label; each label that the model gives must be there.
    """

    points: Points
    floor: Annotated[float, Field(ge=0, lt=1)]
    review_from: Share
    labels: dict[str, LabelPolicy]


class BehaviourPolicy(_Schema):
    """The behaviour model's part.

    Attributes:
        points: The most that it gives.
        floor: Probabilities up to here count nothing; from here they count in proportion.
        review_from: An account as likely to be trouble as this goes to a person, whatever the score.
    """

    points: Points
    floor: Annotated[float, Field(ge=0, lt=1)]
    review_from: Share


class DocumentsPolicy(_Schema):
    """The documents' part. The keys with a default are younger than some bundles.

    Attributes:
        points: The most that all problems give.
        default: Of a problem that ``problems`` does not list.
        confidence_from: A field read with less is a problem.
        income_gap_from: A proven income may be below the declared one by this share of it.
        withheld: Salary paid in may be below the income by this share of it.
        period_days: A statement covers at least so many.
        statement_days: Since a statement ended, at most.
        proof_days: Since an income proof was issued, at most.
        problems: Points by code.
    """

    points: Points
    default: Points
    confidence_from: Share
    income_gap_from: Share
    withheld: Share = 0.25
    period_days: Days = 80
    statement_days: Days = 60
    proof_days: Days = 90
    problems: dict[str, Points]


class CapacityPolicy(_Schema):
    """The part of income against instalment.

    Attributes:
        points: The most that it gives.
        share_from: Instalment as a share of monthly income: up to here nothing,
        share_to: from here on all points.
    """

    points: Points
    share_from: Annotated[float, Field(ge=0, lt=100)]
    share_to: Annotated[float, Field(gt=0, le=100)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.share_to <= self.share_from:
            raise ValueError(f"share_to is {self.share_to}, not above share_from, {self.share_from}")
        return self


class PartPolicy(Wording):
    """Whether an application without this part goes to a person.

    Attributes:
        required: It does.
    """

    required: bool


class PartsPolicy(_Schema):
    """Every part that can be missing; policies from before purposes were found unreadable do not name that.

    Attributes:
        id_card: The identity card.
        income_proof: The income proof.
        bank_statement: The bank statement.
        behaviour: An account history long enough to assess.
        purpose: A purpose that can be read.
    """

    id_card: PartPolicy
    income_proof: PartPolicy
    bank_statement: PartPolicy
    behaviour: PartPolicy
    purpose: PartPolicy = PartPolicy(required=True, zh="可读的贷款用途说明", en="a purpose that can be read")


class MissingPolicy(_Schema):
    """The part of what is missing.

    Attributes:
        points: The most that it gives.
        each: Points of every missing part.
        parts: What can be missing.
    """

    points: Points
    each: Points
    parts: PartsPolicy


class ScorePolicy(_Schema):
    """The part of one more model of the bundle; ``edge.further_score`` feeds it what the application brings.

    Attributes:
        model: Its name, as in ``/v2/models/NAME``.
        output: Which of its outputs is read; not needed where it has one.
        reads: What stands there: a ``probability``, a value that ``sigmoid`` makes one, or a row that ``softmax`` does.
        place: Of the value in the output, counted from 0: ``[0, 1]`` is the second value of the first row.
        points: The most that it gives.
        floor: Probabilities up to here count nothing; from here they count in proportion.
        review_from: From here on a person looks, whatever the score.
        reason: The sentence of its reason.
        missing: What an application without its inputs lacks, and whether a person looks then.
    """

    model: str
    output: str | None = None
    reads: Literal["probability", "sigmoid", "softmax"] = "probability"
    place: tuple[Annotated[int, Field(ge=0)], ...] = (0, 0)
    points: Points
    floor: Annotated[float, Field(ge=0, lt=1)]
    review_from: Share
    reason: ReasonText
    missing: PartPolicy


class ReasonTexts(_Schema):
    """The sentence of every reason; those of further scores stand in their own sections.

    Attributes:
        text_risk: What the purpose says.
        account_behaviour: How the account was used.
        document_problems: What the papers say about themselves and each other.
        repayment_capacity: Whether the income carries the loan.
        missing_parts: What was not handed in or could not be assessed.
        offline_authority: Why a device without its line may not let it pass.
    """

    text_risk: ReasonText
    account_behaviour: ReasonText
    document_problems: ReasonText
    repayment_capacity: ReasonText
    missing_parts: ReasonText
    offline_authority: ReasonText = ReasonText(
        zh="离线期间的审批权限：$what，须由人工决定", en="Decided without the bank's line: $what; a person decides"
    )


class UpdatePolicy(_Schema):
    """What a device may do by itself about releases. Every key has a default: older bundles have no such section.

    Attributes:
        grace_days: So long metadata of the update repository that has expired is still used by a device that was cut
            off; 0 allows none.
        crashes: Failed starts of a release in trial, or crashes in its first time, after which the one before serves.
        drift_applications: So many scores of a new release are compared with as many of the one before.
        drift_points: Further apart than this the two means may not be, in points of the score.
    """

    grace_days: Days = 30
    crashes: Annotated[int, Field(ge=1, le=100)] = 3
    drift_applications: Annotated[int, Field(ge=1, le=10_000)] = 20
    drift_points: Annotated[float, Field(gt=0, le=100)] = 15.0


class Policy(_Schema):
    """The whole file.

    Attributes:
        schema_version: Of this form.
        levels: Low, medium and high risk.
        text: What the purpose says, by the text model.
        behaviour: How the account was used, by the behaviour model.
        documents: What the papers say about themselves and each other.
        capacity: Whether the income carries the loan.
        missing: What was not handed in or could not be assessed.
        reasons: What a clerk reads.
        scores: Further models of the bundle, by a name of the bank's.
        calibration: From the sum of all points to the score.
        update: What a device may do by itself about new releases.
        offline: What a device may decide by itself without its line.
        review: How people decide.
        journal: What a device keeps of what it decided.
        sync: How the journal goes to headquarters.
    """

    schema_version: Literal[1]
    levels: Levels
    text: TextPolicy
    behaviour: BehaviourPolicy
    documents: DocumentsPolicy
    capacity: CapacityPolicy
    missing: MissingPolicy
    reasons: ReasonTexts
    scores: dict[ScoreName, ScorePolicy] = Field(default_factory=dict)
    calibration: Calibration = UNCALIBRATED
    update: UpdatePolicy = UpdatePolicy()
    offline: OfflinePolicy = OfflinePolicy()
    review: ReviewPolicy = ReviewPolicy()
    journal: JournalPolicy = JournalPolicy()
    sync: SyncPolicy = SyncPolicy()

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        points = {
            "text": self.text.points,
            "behaviour": self.behaviour.points,
            "documents": self.documents.points,
            "capacity": self.capacity.points,
            "missing": self.missing.points,
            **{f"scores.{name}": score.points for name, score in self.scores.items()},
        }
        if (total := sum(points.values())) != 100:
            *names, last = points
            raise ValueError(f"the points of {', '.join(names)} and {last} are {total} together, not 100")
        return self


def load_policy(source: bytes | Path) -> Policy:
    """Read a policy from its bytes or its file.

    Raises:
        PolicyError: It is missing, not TOML, or malformed; the message names the key.
    """
    name = str(source) if isinstance(source, Path) else "The policy"
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        return Policy.model_validate(tomllib.loads(data.decode("utf-8")))
    except OSError as error:
        raise PolicyError(f"{name} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"{name} is not TOML: {error}.") from error
    except ValidationError as error:
        raise PolicyError(f"{name} is malformed at {place_and_reason(error)}.") from error


def load_update_policy(bundle: Path) -> UpdatePolicy:
    """Only the section ``[update]`` of a bundle's policy, which the kit that installs it may be too old to know whole.

    Keys of a newer kit are passed over; the kit in the release itself knows them.

    Raises:
        PolicyError: The policy cannot be read, or a known key has a wrong value.
    """
    path = bundle / "policy.toml"
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("update", {})
        return UpdatePolicy(**{key: section[key] for key in UpdatePolicy.model_fields if key in section})
    except OSError as error:
        raise PolicyError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        raise PolicyError(f"{path} is malformed at update.{place_and_reason(error)}.") from error
