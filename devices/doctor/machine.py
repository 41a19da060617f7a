"""Checks of what ``probe`` measured against what a profile needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from devices.clock import Reading
from devices.doctor.check import Check
from devices.match import best, match
from devices.probe import Facts, full_int8
from devices.profile import Profile, library_of, on_cpu

_ARCHITECTURES = ("x86_64", "aarch64")
_PYTHON = "3.11"
_SMALL_MEMORY_MB = 512  # for the system beside the server


def check_machine(facts: Facts) -> Check:
    """DOCTOR-001: is there a build of the kit for this processor?"""
    finding = f"{facts.arch}, {facts.cpu_model}, {facts.cores} cores, Linux {facts.kernel or 'unknown'}."
    if facts.arch not in _ARCHITECTURES:
        return Check(
            "DOCTOR-001",
            "stop",
            finding,
            f"The kit runs on {' and '.join(_ARCHITECTURES)}; this machine cannot be used for it.",
        )
    return Check("DOCTOR-001", "ok", finding)


def check_python(facts: Facts) -> Check:
    """DOCTOR-002: is this the Python that the kit's wheels are for?"""
    finding = f"Python {facts.python}, {facts.libc}."
    if ".".join(facts.python.split(".")[:2]) != _PYTHON:
        return Check("DOCTOR-002", "stop", finding, f"Start the kit with Python {_PYTHON}, for which it is built.")
    return Check("DOCTOR-002", "ok", finding)


def check_profile(facts: Facts, profile: Profile, known: Sequence[Profile]) -> Check:
    """DOCTOR-004: is the bundle for a machine like this one?

    One for another architecture stops; fewer cores or less memory than it was made for need attention.
    """
    (verdict,) = match(facts, [profile])
    if verdict.fits:
        better = best(facts, [*known, profile])
        more = "" if better.name == profile.name else f" {better.name} would use more of this machine."
        return Check("DOCTOR-004", "ok", f"Profile {profile.name} fits this machine.{more}")
    suited = next((each.profile.name for each in match(facts, known) if each.fits), None)
    return Check(
        "DOCTOR-004",
        "attention" if facts.arch in profile.match.arch else "stop",
        f"Profile {profile.name} does not fit this machine. {' '.join(verdict.reasons_against)}",
        f"Ask headquarters for the bundle of profile {suited}."
        if suited
        else "Ask headquarters which bundle is for this machine: 'edgekit device match' shows why no profile fits.",
    )


def check_int8(facts: Facts, profile: Profile, full_range: Sequence[str]) -> Check:
    """DOCTOR-005: does this processor compute the bundle's INT8 models right?

    Args:
        facts: The machine.
        profile: The bundle's.
        full_range: Models of it whose INT8 weights use all 8 bits.
    """
    if full_int8(facts):
        return Check("DOCTOR-005", "ok", "This processor computes INT8 of all 8 bits exactly.")
    if not full_range:
        return Check("DOCTOR-005", "ok", "No model needs VNNI, which this processor does not have.")
    only_cpu = all(on_cpu(backend) for backend in profile.serve.backends)
    return Check(
        "DOCTOR-005",
        "stop" if only_cpu else "attention",
        f"This processor has no VNNI and would compute {', '.join(full_range)} wrong: "
        "their INT8 weights use all 8 bits.",
        "Ask headquarters for a bundle of profile cpu-avx2 or cpu-generic.",
    )


def check_backends(facts: Facts, profile: Profile) -> Check:
    """DOCTOR-006: is what the profile serves with installed?"""
    order = profile.serve.backends
    there = [backend for backend in order if library_of(backend) in facts.backends]
    missing = [backend for backend in order if backend not in there]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(facts.backends.items())) or "none"
    remedy = "Install the release again; its environment holds what the profile needs."
    if not there:
        return Check("DOCTOR-006", "stop", f"None of {', '.join(order)} is installed (there: {versions}).", remedy)
    if order[0] not in there:
        return Check(
            "DOCTOR-006", "attention", f"{order[0]} is not installed, {there[0]} serves instead ({versions}).", remedy
        )
    spare = f"; {', '.join(missing)} behind it is not" if missing else ""
    return Check("DOCTOR-006", "ok", f"{order[0]} is installed{spare} ({versions}).")


def check_memory(facts: Facts, profile: Profile) -> Check:
    """DOCTOR-007: is there room for the server at its limit, and for the system beside it?"""
    limit = profile.serve.memory_limit_mb
    finding = f"{facts.memory_mb} MB of memory; the server may take {limit} MB."
    if facts.memory_mb < limit:
        group = " The control group of this process sets this limit." if facts.limits.memory_mb else ""
        return Check(
            "DOCTOR-007",
            "stop",
            finding + group,
            f"Give the device {limit + _SMALL_MEMORY_MB} MB, or lower memory_limit_mb in the bank's profile.",
        )
    if facts.memory_mb < limit + _SMALL_MEMORY_MB:
        return Check("DOCTOR-007", "attention", finding, "Stop other programs on this device, or give it more memory.")
    return Check("DOCTOR-007", "ok", finding)


def check_clock(reading: Reading) -> Check:
    """DOCTOR-011: can this machine's date be right?

    A clock that is behind stops: receipts would carry a date that was over before the kit was built.
    """
    if reading.state == "ok":
        return Check("DOCTOR-011", "ok", reading.sentence)
    remedy = "Set date and time of the device (date -s 'YYYY-MM-DD hh:mm'); if it is lost again, change the battery."
    return Check("DOCTOR-011", "stop" if reading.state == "behind" else "attention", reading.sentence, remedy)


def check_time_zone(facts: Facts) -> Check:
    """DOCTOR-012: are local times what people take them for? Receipts carry UTC and do not depend on it."""
    zone = facts.time_zone
    if zone.problems:
        return Check(
            "DOCTOR-012",
            "attention",
            " ".join(zone.problems),
            "Set the time zone (timedatectl set-timezone Asia/Shanghai) and keep the hardware clock in UTC.",
        )
    return Check("DOCTOR-012", "ok", f"The time zone is {zone.name}.")


def check_gpu(facts: Facts, profile: Profile) -> Check:
    """DOCTOR-015: does the GPU answer that the profile counts on?"""
    found = ", ".join(gpu.name for gpu in facts.gpus) or "none"
    if facts.problems:
        return Check(
            "DOCTOR-015",
            "attention",
            " ".join(facts.problems),
            "Restart the device; if it stays so, install NVIDIA's driver again.",
        )
    wanted = profile.match.gpu
    if wanted != "none" and not any(gpu.vendor == wanted for gpu in facts.gpus):
        on_gpu_only = not any(on_cpu(backend) for backend in profile.serve.backends)
        return Check(
            "DOCTOR-015",
            "stop" if on_gpu_only else "attention",
            f"Profile {profile.name} counts on a GPU ({wanted}); found: {found}.",
            "Check that the board is in place and its driver is installed, or use a bundle for the processor alone.",
        )
    return Check("DOCTOR-015", "ok", f"GPUs: {found}.")


def check_tpm(facts: Facts) -> Check:
    """DOCTOR-016: is there a security chip? Nothing depends on it: keys are files that this user alone can read."""
    return Check("DOCTOR-016", "ok", f"TPM {facts.tpm}." if facts.tpm else "No TPM; keys lie in files.")
