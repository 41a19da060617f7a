"""Finished stages of a compression, kept beside the artifact, so that the same command goes on where it stopped.

    OUT.stages/
      distil-3f2a91c0be7d/     a finished stage, usable by itself: here a PaddleNLP checkpoint
      .narrow-77d01b2c94ee/    one that was interrupted: ``result`` is thrown away, ``scratch`` is picked up again

A stage's name ends in the SHA-256 of what went into it: data, settings, seed, the stages before it, and the versions
of the kit and of Paddle. Another seed or another profile therefore never meets the wrong stage. A stage is there
wholly or not at all: it is filled under another name and renamed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from safetensors import SafetensorError

from devices.errors import CompressionError

_KEY_LENGTH = 12
_FULL_BYTES = 1 << 20


class Stages:
    """The store. One process at a time works in it.

    Args:
        root: Its directory; made when the first stage is begun.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str, inputs: Mapping[str, Any]) -> Path:
        """Where the stage is or will be."""
        return self.root / f"{name}-{_key(inputs)}"

    def shared(self, name: str, inputs: Mapping[str, Any]) -> Path:
        """A directory that several stages fill and read, such as a teacher's answers; it is no result."""
        return self.root / f".{name}-{_key(inputs)}"

    def run(self, name: str, inputs: Mapping[str, Any], make: Callable[[Path, Path], None]) -> Path:
        """The directory of a stage, made now or kept from before.

        Args:
            name: Of the stage, for people.
            inputs: Everything that decides the result; plain values, dataclasses and pydantic models.
            make: Fills its first argument, an empty directory. Its second one is a directory that survives
                interruptions and holds what the interrupted call left there.

        Raises:
            CompressionError: The disk is full.
        """
        target = self.path(name, inputs)
        if target.is_dir():
            return target
        draft = self.root / f".{target.name}"
        result, scratch = draft / "result", draft / "scratch"
        try:
            shutil.rmtree(result, ignore_errors=True)
            result.mkdir(parents=True, exist_ok=True)
            scratch.mkdir(exist_ok=True)
            make(result, scratch)
            result.replace(target)
        except OSError as error:
            raise self._translated(error) from error
        except (RuntimeError, SafetensorError) as error:  # Paddle and safetensors say it in words of their own
            if "os error 28" not in str(error) and shutil.disk_usage(self.root).free > _FULL_BYTES:
                raise
            raise self._full() from error
        shutil.rmtree(draft, ignore_errors=True)
        return target

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out until the block ends; the lock goes with the process, however it ends.

        Raises:
            CompressionError: Another process is at work in this directory.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise self._translated(error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CompressionError(
                    f"Another command is compressing into {self.root} at this moment.",
                    remedy="Wait until it has ended, or name another --out.",
                ) from error
            yield

    def _translated(self, error: OSError) -> CompressionError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._full()
        return CompressionError(
            f"{error.filename or self.root} could not be written: {error.strerror}.",
            state="No artifact was written. Finished stages are kept.",
            remedy="Check the path and its permissions, then give the same command again.",
        )

    def _full(self) -> CompressionError:
        return CompressionError(
            f"The disk is full: {self.root} could not be written to.",
            state="No artifact was written. Finished stages are kept.",
            remedy="Make room or move the directory to another disk, then give the same command again.",
        )


def stages_beside(out: Path) -> Path:
    """The directory of stages for an artifact at ``out``."""
    return out.with_name(f"{out.name}.stages")


def _key(inputs: Mapping[str, Any]) -> str:
    versions = {name: metadata.version(name) for name in ("branch-edgekit", "paddlepaddle", "paddleslim")}
    text = json.dumps([versions, inputs], default=_plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, os.PathLike):
        raise TypeError(f"{value} is a path; a stage is told apart by content, not by where it lies")
    raise TypeError(f"a stage cannot be told apart by a {type(value).__name__}")
