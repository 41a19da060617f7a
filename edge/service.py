"""From a verified bundle to everything that a device serves: models loaded, proven and warm.

Models are built from the bundle's verified bytes. For each one the first backend of the profile's order that
reproduces the golden outputs on this machine serves; what was passed over is kept for status and log.

Nothing is written down here: what answers customers goes through ``edge.journaled``.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from devices.errors import BundleError, PolicyError, RequestError
from devices.probe import full_int8, probe
from devices.profile import Backend, Profile, Serve, on_cpu, parse_profile
from devices.state import cache_dir, hand_over_cache
from edge.application import Submission, from_parts
from edge.bundle.manifest import POLICY_NAME, PROFILE_NAME
from edge.bundle.parts import Part, bundle_file, parts_of
from edge.bundle.sample import sample_of
from edge.bundle.verify import VerifiedBundle
from edge.further_score import FurtherScore, check_section
from edge.pipeline import Identity, Scorer
from edge.policy import Policy, load_policy
from edge.receipt import Bundle as BundleReference
from edge.receipt import Model as ModelReference
from edge.receipt import Offline
from runtime.app import Limits, SentApplication, Services, UploadedFile
from runtime.artifact import ModelEntry, OcrSettings
from runtime.behaviour import BehaviourModel
from runtime.budget import Budget
from runtime.choice import Choice, choose_backend
from runtime.metrics import Metrics
from runtime.ocr.models import parse_characters
from runtime.ocr.pipeline import USUAL_PAGES, OcrPipeline, assemble
from runtime.predictor import Predictor, RunOptions, ShapeRange
from runtime.readable import PAIRS_NAME, Pairs
from runtime.shapes import shape_ranges
from runtime.text import TextClassifier
from runtime.tokenizer import ErnieTokenizer

log = logging.getLogger(__name__)

_COMPILED = "compiled"  # the models as engines keep them, in the cache


@dataclass(frozen=True)
class Device:
    """A device that is ready: the services for HTTP, the scorer for calls in the same process, and what they rest on.

    Attributes:
        services: Their scores are kept nowhere.
        scorer: Of the same models.
        profile: Of this device.
        policy: Of the bundle.
        bundle: As receipts name it.
    """

    services: Services
    scorer: Scorer
    profile: Profile
    policy: Policy
    bundle: BundleReference


def open_device(bundle: VerifiedBundle, *, backend: Backend | None = None) -> Device:
    """Load every model of ``bundle``, check each against its golden outputs, and warm it up.

    Args:
        bundle: Verified; its files are not read from the disk again.
        backend: Serve everything with this one instead of the profile's order.

    Raises:
        BundleError: A part that scoring needs is missing, or a file of it is malformed.
        PolicyError: The policy is malformed, does not know a label of the text model, or has a section of ``scores``
            that does not fit its model.
        BackendError: No backend serves one of the models.
    """
    profile = parse_profile(bundle_file(bundle, PROFILE_NAME), PROFILE_NAME)
    parts = parts_of(bundle)
    order = (backend,) if backend else profile.serve.backends
    loader = _Loader(profile, order, models=sum(len(part.artifact.models) for part in parts))
    loader.load([(part, entry) for part in parts for entry in part.artifact.models])

    ocr = _ocr(_only(parts, "ocr", bundle), loader.predictors, profile.serve)
    metrics = Metrics()
    text = _text(_only(parts, "text", bundle), loader.predictors, profile.serve, metrics)
    behaviour = _behaviour(_only(parts, "behaviour", bundle), loader.predictors)
    text.warm_up()
    # papers of the sample stand for those of the branch; whoever serves rehearses with them
    ocr.warm_up(pages=() if sample_of(bundle) else USUAL_PAGES)
    hand_over_cache(_COMPILED)
    policy = _policy(bundle, text)
    identity = Identity(
        device_id=platform.node() or "unknown",
        profile=profile.name,
        bundle=BundleReference(name=bundle.manifest.name, version=bundle.manifest.version, sha256=bundle.sha256),
        models=_Models(loader.predictors),
        offline=Offline(since=None, authority="full"),  # edge.decide says what it is
    )
    scorer = Scorer(
        ocr=ocr,
        text=text,
        behaviour=behaviour,
        policy=policy,
        identity=identity,
        scores=_scores(policy, parts, loader.predictors),
    )
    metrics.info("bundle", name=bundle.manifest.name, version=bundle.manifest.version)

    def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
        return scorer.score(submission_from(sent), budget).receipt.model_dump(mode="json")

    services = Services(
        version=version("branch-edgekit"),
        predictors=loader.predictors,
        ocr=ocr,
        text=text,
        score=score,
        status=_status(identity, bundle.key_id, loader),
        limits=Limits(
            requests=profile.serve.requests,
            texts=profile.serve.text_batch,
            queue=profile.serve.queue,
            timeout_ms=profile.serve.timeout_ms,
        ),
        metrics=metrics,
        shapes=loader.shapes,
    )
    return Device(services, scorer, profile, policy, identity.bundle)


def submission_from(sent: SentApplication) -> Submission:
    """The application that was sent, checked.

    Raises:
        InputError: As of ``edge.application.from_parts``.
        RequestError: Two files have one name.
    """
    return from_parts(sent.application, name_uploads(sent.application, sent.files))


def name_uploads(application: bytes, uploads: Sequence[UploadedFile]) -> dict[str, bytes]:
    """Files by the names that ``application`` uses: a part may carry its name as file name or as field name."""
    try:
        wanted = {document["file"] for document in json.loads(application)["documents"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        wanted = set()  # from_parts will say what is wrong with it
    files: dict[str, bytes] = {}
    for upload in uploads:
        named_by_field = upload.field in wanted and upload.filename not in wanted
        name = upload.field if named_by_field else upload.filename or upload.field
        if name in files:
            raise RequestError(f"The request holds the file {name!r} twice.")
        files[name] = upload.data
    return files


class _Models:
    """The models as they serve at this moment: one whose engine is being built changes its backend."""

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self._predictors = [predictors[name] for name in sorted(predictors)]

    def __iter__(self) -> Iterator[ModelReference]:
        for each in self._predictors:
            yield ModelReference(name=each.name, sha256=each.sha256, backend=each.backend, precision=each.precision)


class _Loader:
    """Loads models; remembers predictors and what was passed over."""

    def __init__(self, profile: Profile, order: Sequence[Backend], models: int) -> None:
        serve = profile.serve
        self._order = order
        self._text_batch = serve.text_batch
        self._full_int8 = full_int8(probe())
        self._options = RunOptions(
            threads=serve.threads,
            parallel=serve.parallel,
            cache_dir=cache_dir(_COMPILED),
            fp16=serve.fp16,
            gpu_memory_limit_mb=serve.gpu_memory_limit_mb,
            gpu_models=models,
        )
        self.predictors: dict[str, Predictor] = {}
        self.shapes: dict[str, Mapping[str, ShapeRange]] = {}
        self._passed_over: dict[str, list[str]] = {}

    def load(self, entries: Sequence[tuple[Part, ModelEntry]]) -> None:
        """Load all of them, one after another: two at once are no faster on two cores."""
        names = [entry.name for _, entry in entries]
        if twice := [name for name in names if names.count(name) > 1]:
            raise BundleError(f"Two models of the bundle are called {twice[0]}.")
        for name, (part, entry) in zip(names, entries, strict=True):
            choice = self._choose(part, entry)
            self.predictors[name] = choice.predictor
            self._passed_over[name] = choice.passed_over
            for reason in choice.passed_over:
                log.warning("%s: %s", name, reason)

    def _choose(self, part: Part, entry: ModelEntry) -> Choice:
        files, golden = part.model(entry), part.golden(entry)
        # OCR's det meets as many sizes as there are pages, and of what the kit does not feed itself nothing is known
        few_shapes = entry.decides != "regions" and part.artifact.kind != "model"
        options = replace(self._options, few_shapes=few_shapes)
        if golden is not None:
            shapes = shape_ranges(part.artifact, entry.name, golden.inputs, text_batch=self._text_batch)
            options = replace(options, shapes=shapes)
            if part.artifact.kind != "model":  # of others only the golden shapes are known
                self.shapes[entry.name] = shapes
        return choose_backend(files, entry, golden, self._order, options, full_int8=self._full_int8)

    def passed_over(self) -> dict[str, list[str]]:
        """Why backends before the one that serves do not, by model; an engine that is done leaves the list."""
        return {name: list(reasons) for name, reasons in self._passed_over.items() if reasons}


def _status(identity: Identity, signed_by: str, loader: _Loader) -> Callable[[], dict[str, Any]]:
    """What ``/v1/status`` says of the models and their bundle; others add to it."""
    started = datetime.now(UTC)
    described = identity.bundle.model_dump(mode="json") | {"signed_by": signed_by}  # not the bundle with its bytes

    def status() -> dict[str, Any]:
        return {
            "device_id": identity.device_id,
            "profile": identity.profile,
            "bundle": described,
            "models": [model.model_dump(mode="json") for model in identity.models],
            "passed_over": loader.passed_over(),
            "started": started.isoformat(),
        }

    return status


def _policy(bundle: VerifiedBundle, text: TextClassifier) -> Policy:
    policy = load_policy(bundle_file(bundle, POLICY_NAME))
    if unknown := sorted(set(text.settings.labels) - set(policy.text.labels)):
        raise PolicyError(
            f"The text model gives the label {unknown[0]!r}, which {POLICY_NAME} of the bundle does not weigh.",
            state="Nothing was loaded.",
            remedy="Add the label under [text.labels] and build the bundle again.",
        )
    return policy


def _only(parts: Sequence[Part], kind: str, bundle: VerifiedBundle) -> Part:
    found = [part for part in parts if part.artifact.kind == kind]
    if len(found) != 1:
        raise BundleError(
            f"Bundle {bundle.manifest.name} {bundle.manifest.version} has {len(found)} artifacts of kind {kind}; "
            "scoring needs one.",
            remedy="Build the bundle again with one artifact each of kind ocr, text and behaviour.",
        )
    return found[0]


def _ocr(part: Part, predictors: Mapping[str, Predictor], serve: Serve) -> OcrPipeline:
    settings = part.artifact.ocr
    dictionary = part.within("rec").get("dict.txt")
    if settings is None or dictionary is None:
        raise BundleError(f"{part.folder} of the bundle lacks its OCR settings or rec/dict.txt.")
    settings = within_profile(settings, serve)
    det = predictors["ocr-det"]
    return assemble(
        det,
        predictors["ocr-rec"],
        predictors.get("ocr-cls"),
        parse_characters(dictionary),
        settings,
        pages=serve.parallel if on_cpu(det.backend) else serve.requests,  # beside a GPU the CPU has time for another
    )


def within_profile(settings: OcrSettings, serve: Serve) -> OcrSettings:
    """``settings`` with no larger side for det than the profile allows."""
    side = min(settings.det_limit_side, serve.det_limit_side or settings.det_limit_side)
    return settings.model_copy(update={"det_limit_side": side})


def _text(part: Part, predictors: Mapping[str, Predictor], serve: Serve, metrics: Metrics) -> TextClassifier:
    settings = part.artifact.text
    vocabulary = part.files.get("vocab.txt")
    if settings is None or vocabulary is None:
        raise BundleError(f"{part.folder} of the bundle lacks its text settings or vocab.txt.")
    predictor = predictors[part.artifact.models[0].name]
    pairs = part.files.get(PAIRS_NAME)  # older bundles have none
    return TextClassifier(
        predictor,
        ErnieTokenizer(vocabulary, lowercase=settings.lowercase),
        settings,
        batch=serve.text_batch,
        wait_s=serve.text_batch_wait_ms / 1000,
        parallel=serve.parallel,
        observe=metrics.text_batch,
        pairs=Pairs.parsed(pairs, f"{part.folder}/{PAIRS_NAME}") if pairs else None,
    )


def _behaviour(part: Part, predictors: Mapping[str, Predictor]) -> BehaviourModel:
    if part.artifact.behaviour is None:
        raise BundleError(f"{part.folder} of the bundle lacks its behaviour settings.")
    return BehaviourModel(predictors[part.artifact.models[0].name], part.artifact.behaviour)


def _scores(policy: Policy, parts: Sequence[Part], predictors: Mapping[str, Predictor]) -> dict[str, FurtherScore]:
    models = {entry.name: (part, entry) for part in parts for entry in part.artifact.models}
    for name, section in policy.scores.items():
        golden = {each: part.golden(entry) if each == section.model else None for each, (part, entry) in models.items()}
        check_section(name, section, golden)
    return {name: FurtherScore(name, predictors[section.model], section) for name, section in policy.scores.items()}
