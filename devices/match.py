"""Which profiles fit a machine, and why: pure, and the same whatever the order of the profiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from devices.errors import DeviceError
from devices.probe import Facts
from devices.profile import Profile, known_profiles, library_of

_GPU_RANK = {"none": 0, "intel": 1, "nvidia": 2, "jetson": 2}


@dataclass(frozen=True)
class Verdict:
    """Whether one profile fits, in sentences for a person.

    Attributes:
        profile: The profile.
        fits: Whether every demand of its ``match`` is met.
        reasons_for: Demands that are met.
        reasons_against: Demands that are not met, and what else speaks against choosing it.
    """

    profile: Profile
    fits: bool
    reasons_for: tuple[str, ...]
    reasons_against: tuple[str, ...]


def match(facts: Facts, profiles: Iterable[Profile]) -> tuple[Verdict, ...]:
    """Judge every profile.

    Returns:
        Best first: those that fit before those that do not; among those that fit, the ones to be chosen only by
        name last, and otherwise the more demanding one first (GPU, then instruction sets, then memory and cores).
    """
    ranked = sorted((_judge(facts, profile) for profile in profiles), key=_rank)
    return tuple(ranked[:1] + [_beside(ranked[0], verdict) for verdict in ranked[1:]])


def best(facts: Facts, profiles: Iterable[Profile] | None = None) -> Profile:
    """The profile for this machine; of the kit's own, ``cpu-generic`` fits every x86_64 and aarch64.

    Raises:
        DeviceError: None fits.
    """
    verdicts = match(facts, known_profiles() if profiles is None else profiles)
    if not verdicts or not verdicts[0].fits:
        raise DeviceError(
            f"None of {len(verdicts)} device profiles fits this machine ({facts.arch}, {facts.cores} cores, "
            f"{facts.memory_mb} MB).",
            remedy="See 'edgekit device match' for the reasons, and give your own profile by the path of its file.",
        )
    return verdicts[0].profile


def _beside(chosen: Verdict, verdict: Verdict) -> Verdict:
    """``verdict`` with the reason why another one is chosen although this one fits."""
    if not verdict.fits or verdict.profile.match.on_request:
        return verdict
    beaten = f"{chosen.profile.name} fits too, and asks for more of what this machine has."
    return replace(verdict, reasons_against=(*verdict.reasons_against, beaten))


def _judge(facts: Facts, profile: Profile) -> Verdict:
    wants = profile.match
    met: list[str] = []
    unmet: list[str] = []

    def demand(holds: bool, good: str, bad: str) -> None:
        (met if holds else unmet).append(good if holds else bad)

    demand(
        facts.arch in wants.arch,
        f"The processor is {facts.arch}.",
        f"The processor is {facts.arch}; the profile is for {' or '.join(wants.arch)}.",
    )
    if wants.isa:
        missing = [name for name in wants.isa if name not in facts.isa]
        demand(
            not missing,
            f"The processor has {', '.join(wants.isa)}.",
            f"The processor lacks {', '.join(missing)}.",
        )
    demand(
        facts.cores >= wants.min_cores,
        f"{facts.cores} cores are enough; the profile needs {wants.min_cores}.",
        f"{facts.cores} cores are too few; the profile needs {wants.min_cores}.",
    )
    demand(
        facts.memory_mb >= wants.min_memory_mb,
        f"{facts.memory_mb} MB of memory are enough; the profile needs {wants.min_memory_mb}.",
        f"{facts.memory_mb} MB of memory are too few; the profile needs {wants.min_memory_mb}.",
    )
    if wants.gpu != "none":
        same_kind = [gpu for gpu in facts.gpus if gpu.vendor == wants.gpu]
        fitting = [
            gpu
            for gpu in same_kind
            if (gpu.memory_mb or 0) >= wants.min_gpu_memory_mb
            and (gpu.compute_capability or 0) >= wants.min_compute_capability
        ]
        needs = [f"{wants.min_gpu_memory_mb} MB"] if wants.min_gpu_memory_mb else []
        if wants.min_compute_capability:
            needs.append(f"compute capability {wants.min_compute_capability} or later")
        needed = f" with {' and '.join(needs)}" if needs else ""
        demand(
            bool(fitting),
            f"There is a fitting GPU: {fitting[0].name}." if fitting else "",
            f"No {wants.gpu} GPU{needed} was found"
            + (f", only {', '.join(gpu.name for gpu in facts.gpus)}." if facts.gpus else "."),
        )
    fits = not unmet
    if wants.on_request:
        unmet.append("It is chosen only by name.")
    if profile.serve.memory_limit_mb > facts.memory_mb:
        unmet.append(f"Its server may take {profile.serve.memory_limit_mb} MB; this machine has {facts.memory_mb}.")
    first = profile.serve.backends[0]
    if library_of(first) not in facts.backends:
        unmet.append(f"Its first backend, {first}, is not installed here.")
    return Verdict(profile, fits, tuple(met), tuple(unmet))


def _rank(verdict: Verdict) -> tuple[object, ...]:
    wants = verdict.profile.match
    return (
        not verdict.fits,
        wants.on_request,
        -_GPU_RANK[wants.gpu],
        -wants.min_gpu_memory_mb,
        -wants.min_compute_capability,
        -len(wants.isa),
        -wants.min_memory_mb,
        -wants.min_cores,
        len(wants.arch),
        verdict.profile.name,
        verdict.profile.model_dump_json(),  # two profiles of one name still have one order
    )
