"""What a kind of device is declared to be: which machines it fits, how they serve, what compression must reach.

A profile is one TOML file, whole in itself, so that what lies in a bundle says everything (docs/profiles.md). The kit's
own lie in ``devices/profiles/``. A bank names its own by path, or keeps them in the directory that
``EDGEKIT_PROFILES_DIR`` names: there one of the same name takes the place of the kit's.
An unknown key is an error, so that a misspelt one is never silently a default.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from devices.cpu import ISA_NAMES
from devices.errors import ProfileError

# a library on the CPU, or a library and the device that it must really get: docs/adr/0015
Backend = Literal[
    "openvino",
    "onnxruntime",
    "paddle",
    "openvino:gpu",
    "onnxruntime:cuda",
    "onnxruntime:tensorrt",
    "onnxruntime:tensorrt-rtx",
    "paddle:gpu",
    "paddle:tensorrt",
]
Library = Literal["openvino", "onnxruntime", "paddle"]
Architecture = Literal["x86_64", "aarch64"]
GpuKind = Literal["none", "intel", "nvidia", "jetson"]

PROFILES_DIR = Path(__file__).parent / "profiles"
OWN_PROFILES_VARIABLE = "EDGEKIT_PROFILES_DIR"


def library_of(backend: Backend) -> Library:
    """The library behind a backend: ``onnxruntime`` for ``onnxruntime:cuda``."""
    return cast(Library, backend.partition(":")[0])


def on_cpu(backend: Backend) -> bool:
    """Whether a backend runs on the CPU: one that names a device does not."""
    return ":" not in backend


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Match(_Schema):
    """Which machines a profile fits.

    Attributes:
        arch: Processor architectures, any of them.
        isa: Instruction sets, all of them, named as ``devices.probe`` names them.
        min_cores: CPU cores that this process may use.
        min_memory_mb: Memory that this process may use.
        gpu: Which kind of GPU it needs; ``none`` needs none and does not mind one.
        min_gpu_memory_mb: The GPU's own memory; 0 where it shares the machine's.
        min_compute_capability: CUDA's generation of the GPU: 7.5 is Turing, 8.0 Ampere; 0 takes any.
        on_request: Ranked after every other profile that fits: chosen only by a person who names it.
    """

    arch: Annotated[tuple[Architecture, ...], Field(min_length=1)]
    isa: tuple[str, ...] = ()
    min_cores: int = Field(ge=1)
    min_memory_mb: int = Field(ge=0)
    gpu: GpuKind = "none"
    min_gpu_memory_mb: int = Field(default=0, ge=0)
    min_compute_capability: float = Field(default=0.0, ge=0)
    on_request: bool = False

    @field_validator("isa")
    @classmethod
    def _isa_has_known_names(cls, isa: tuple[str, ...]) -> tuple[str, ...]:
        for name in isa:  # a misspelt one would fit no machine, and nobody would see why
            if name not in ISA_NAMES:
                raise ValueError(f"{name!r} is no instruction set that the kit knows{_did_you_mean(name, ISA_NAMES)}")
        return isa


class Serve(_Schema):
    """How such a device serves.

    Attributes:
        backends: In order of preference. One with a device, such as ``onnxruntime:cuda``, serves only if it gets
            that device; the CPU serves only where the order names it.
        threads: CPU threads for one inference.
        parallel: Inferences of one model that may run at once, and pages that OCR reads at once.
        memory_limit_mb: What the serving process should stay under.
        gpu_memory_limit_mb: What all models together may take of the GPU's memory; None sets no limit.
        int8: Whether INT8 models are worth trying here.
        reduce_range: INT8 weights in 7 bits: without VNNI two products of 8 bits overflow the 16-bit sum.
        bf16: Whether compression may choose BF16 for a model, where the CPU has it and the gate passes it.
        fp16: Let the GPU compute FP32 models in FP16; a model whose golden outputs do not hold so runs in FP32.
        det_limit_side: OCR looks at no more pixels at once than a square of this side has, whatever the artifact says:
            time and memory grow with them, and small print is lost below. None leaves it to the artifact.
        requests: HTTP requests worked on at once.
        queue: HTTP requests that may wait beyond those; more are answered 503.
        timeout_ms: A request's deadline, unless it asks for a shorter one by ``X-Timeout-Ms``.
        text_batch: Texts in one run of the text model.
        text_batch_wait_ms: Longest that a text waits for company while others are known to be under way.
    """

    backends: Annotated[tuple[Backend, ...], Field(min_length=1)]
    threads: int = Field(ge=1)
    parallel: int = Field(ge=1)
    memory_limit_mb: int = Field(ge=256)
    gpu_memory_limit_mb: int | None = Field(default=None, ge=256)
    int8: bool
    reduce_range: bool
    bf16: bool = False
    fp16: bool = False
    det_limit_side: int | None = Field(default=None, ge=320)
    requests: int = Field(default=2, ge=1)
    queue: int = Field(default=16, ge=0)
    timeout_ms: int = Field(default=30_000, ge=1)
    text_batch: int = Field(default=16, ge=1)
    text_batch_wait_ms: float = Field(default=2.0, ge=0)

    @property
    def measured_on(self) -> Backend:
        """The backend that compression measures on: the first on the CPU, since a workbench need not have the GPU.

        A profile that names none gets its first, which the workbench must then have.
        """
        return next(filter(on_cpu, self.backends), self.backends[0])

    @property
    def writes_7_bits(self) -> bool:
        """Whether INT8 weights made for this profile keep to 7 bits; for Paddle they never do, as oneDNN takes 8."""
        return self.reduce_range and self.measured_on != "paddle"


class Compress(_Schema):
    """What compression for such a device must reach.

    Attributes:
        max_drop: Accuracy that a compressed model may lose, as a fraction: 0.01 is one point.
        text_latency_ms: A text of 128 tokens may take no longer; None sets no limit.
        text_size_mb: The text model's files may be no larger, in millions of bytes; None sets no limit.
        student: Size of the ERNIE student, by its published name such as ``nano``.
    """

    max_drop: float = Field(ge=0, lt=1)
    text_latency_ms: float | None = Field(default=None, gt=0)
    text_size_mb: float | None = Field(default=None, gt=0)
    student: str


class Profile(_Schema):
    """One kind of device.

    Attributes:
        name: Lower-case, as in receipts; the same as its file's name.
        summary: One sentence for a person who chooses.
        sources: The documents that its numbers come from.
        match: Which machines it fits.
        serve: How such a device serves.
        compress: What compression for it must reach.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    sources: tuple[str, ...]
    match: Match
    serve: Serve
    compress: Compress


def load_profile(name_or_path: str | Path) -> Profile:
    """Load a profile by its name, or by the path of a ``.toml`` file.

    Raises:
        ProfileError: There is no such profile (the message lists those that there are), the file cannot be read,
            it is not TOML, or a key is unknown, missing or has a value of the wrong kind.
    """
    return _read(profile_path(name_or_path))


def profile_path(name_or_path: str | Path) -> Path:
    """The file of a profile, named as for ``load_profile``.

    Raises:
        ProfileError: There is no profile of this name.
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        return Path(name_or_path)
    files = profile_files()
    if name_or_path not in files:
        raise ProfileError(
            f"There is no device profile {name_or_path!r}{_did_you_mean(name_or_path, files)}.",
            remedy=f"The profiles are {', '.join(files)}; your own is named by the path of its .toml file.",
        )
    return files[name_or_path]


def profile_files(own: Path | None = None) -> dict[str, Path]:
    """The file of every profile by the profile's name, sorted.

    Args:
        own: A bank's directory, whose profiles are added to the kit's and take the place of those of the same name;
            by default the one that ``EDGEKIT_PROFILES_DIR`` names.

    Raises:
        ProfileError: That directory is not there.
    """
    if own is None and (named := os.environ.get(OWN_PROFILES_VARIABLE)):
        own = Path(named)
    if own is not None and not own.is_dir():
        raise ProfileError(
            f"The directory of your own profiles, {own}, is not there.",
            remedy=f"Correct {OWN_PROFILES_VARIABLE} or --profiles, or remove it.",
        )
    files = {path.stem: path for folder in (PROFILES_DIR, own) if folder for path in folder.glob("*.toml")}
    return dict(sorted(files.items()))


def known_profiles(own: Path | None = None) -> tuple[Profile, ...]:
    """The profiles of ``profile_files``, by name.

    Raises:
        ProfileError: One of them is malformed: a device is not to be matched while a profile has a typo.
    """
    return tuple(_read(path) for path in profile_files(own).values())


def parse_profile(data: bytes, origin: str) -> Profile:
    """Parse a profile's bytes; ``origin`` names them in messages.

    Raises:
        ProfileError: They are no TOML, or a key is unknown, missing or has a value of the wrong kind.
    """
    remedy = "Correct the profile; docs/profiles.md lists every key, and the kit's own show them in use."
    try:
        return Profile.model_validate(tomllib.loads(data.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"The device profile {origin} is not TOML: {error}.", remedy=remedy) from error
    except ValidationError as error:
        # a misspelt key is one unknown and often one missing key too: the unknown one says what to do
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(map(str, first["loc"]))
        raise ProfileError(
            f"The device profile {origin} is wrong at {key}: {_reason(first)}.", remedy=remedy
        ) from error


def _read(path: Path) -> Profile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"The device profile {path} cannot be read: {error.strerror}.", remedy="Check the path."
        ) from error
    profile = parse_profile(data, str(path))
    if profile.name != path.stem:
        raise ProfileError(
            f"The device profile {path} is wrong at name: it says {profile.name!r}, its file {path.stem!r}.",
            remedy="Give the file and the profile in it the same name.",
        )
    return profile


def _reason(error: Any) -> str:
    """What one of pydantic's errors says, as the end of a sentence."""
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden":
        schema: Any = Profile
        for step in error["loc"][:-1]:
            schema = schema.model_fields[step].annotation
        return f"there is no such key{_did_you_mean(str(error['loc'][-1]), schema.model_fields)}"
    if kind == "missing":
        return "the key is missing"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", error["ctx"]["expected"])
        return f"{error['input']!r} is not one of {', '.join(allowed)}{_did_you_mean(str(error['input']), allowed)}"
    message = message.removeprefix("Value error, ")
    return str(message[:1].lower() + message[1:])


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
