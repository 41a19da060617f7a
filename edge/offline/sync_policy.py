"""The section ``[sync]`` of a bank's policy: where headquarters is and by which keys it is known.

It is in the signed bundle, so a device believes no other keys. Where a device reaches the network by another way, its
own ``url`` in ``STATE/keys/sync/url`` goes first; that changes the way only, not who is believed.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Key = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
_SAFE = ("https", "tls")
_LOOPBACK_ONLY = ("http", "nats")


class SyncPolicy(BaseModel):
    """How the journal goes up. Every key has a default: without a ``url`` nothing is sent.

    Attributes:
        url: ``https://HOST`` of a collector, or ``tls://HOST`` of NATS; ``http://`` and ``nats://`` on loopback only.
        acknowledged_by: Headquarters' Ed25519 key, hexadecimal; only what it signs counts as an acknowledgement.
        sealed_for: Headquarters' X25519 key, hexadecimal; without one no paper leaves the device.
        papers: What goes up with a decision: nothing, the receipt and the application, or every paper too.
        every_minutes: Between two calls, and at the latest after so long a wait for the line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""
    acknowledged_by: _Key = ""
    sealed_for: _Key = ""
    papers: Literal["none", "decision", "all"] = "decision"
    every_minutes: Annotated[float, Field(gt=0, le=1440)] = 5.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.url:
            check_url(self.url)
            if not self.acknowledged_by:
                raise ValueError("with a url it needs acknowledged_by, the key that signs acknowledgements")
        return self


def check_url(url: str) -> None:
    """Refuse a way that others could listen on.

    Raises:
        ValueError: ``url`` is none of the four kinds, or an open one that leads to another machine.
    """
    from runtime.access import is_loopback

    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in (*_SAFE, *_LOOPBACK_ONLY):
        raise ValueError(f"{url!r} is none of https://HOST, tls://HOST")
    if parts.scheme in _LOOPBACK_ONLY and not is_loopback(parts.hostname):
        raise ValueError(f"{url!r} leads to another machine without TLS")
