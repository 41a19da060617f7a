"""The root of the tree, and the errors that belong to no part of the kit."""

from __future__ import annotations

from collections.abc import Mapping


class EdgeKitError(Exception):
    """Something that the kit refuses or cannot do.

    Root of the tree: catch this to catch everything that the kit raises on purpose.

    Args:
        problem: What happened, with the values seen. A full sentence.
        state: What the device or command does now. A full sentence.
        remedy: What the reader should do. A full sentence.
    """

    code = "KIT-001"
    exit_code = 1
    default_state = "Nothing was changed."
    default_remedy = "Run the command again; if it fails again, keep the message and report it with its code."

    def __init__(self, problem: str, *, state: str | None = None, remedy: str | None = None) -> None:
        self.problem = problem
        self.state = state or self.default_state
        self.remedy = remedy or self.default_remedy
        super().__init__(problem)

    def __str__(self) -> str:
        return f"{self.problem} {self.state} {self.remedy} [{self.code}]"

    @classmethod
    def from_dict(cls, said: Mapping[str, str]) -> EdgeKitError:
        """The error of another process, from its ``as_dict``: its code and sentences, not its class."""
        error = cls(said["problem"], state=said["state"], remedy=said["remedy"])
        error.code = said["code"]
        return error

    def as_dict(self) -> dict[str, str]:
        """The four fields that JSON output and HTTP problems carry."""
        return {"code": self.code, "problem": self.problem, "state": self.state, "remedy": self.remedy}

    def as_problem(self, status: int) -> dict[str, object]:
        """An HTTP problem document (RFC 9457) with the four fields, and ``error``, where KServe's clients look."""
        return {
            "type": f"urn:edgekit:error:{self.code}",
            "title": (self.__doc__ or self.code).splitlines()[0],
            "status": status,
            "detail": self.problem,
            **self.as_dict(),
            "error": self.problem,
        }


class UsageError(EdgeKitError):
    """A command was called with wrong arguments."""

    code = "USAGE-001"
    exit_code = 2
    default_state = "Nothing was done."


class PolicyError(EdgeKitError):
    """A bank's policy is missing, malformed, or does not fit the models."""

    code = "POLICY-001"
    exit_code = 11
    default_state = "Nothing was scored."
    default_remedy = "Correct the policy; examples/policy.toml explains every key."


class DownloadError(EdgeKitError):
    """A pinned file could not be fetched, or its hash is another one."""

    code = "FETCH-001"
    exit_code = 10
