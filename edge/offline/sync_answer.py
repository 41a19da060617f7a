"""What headquarters answers to a device's call, the same over HTTPS and NATS. Pure: bytes in, values out.

- An answer is for one call, by its nonce: another one is a replay.
- What headquarters has to say is sealed for a key that lives only as long as the process that called, so brokers see
no names.
- A refusal is an answer too, signed as any other, so nobody else can turn a device away.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from devices.errors import (
    AcknowledgementError,
    EdgeKitError,
    SyncError,
    SyncQuotaError,
    SyncRefusedError,
    SyncUnregisteredError,
)
from edge.offline.sync_frame import MALFORMED, pack_frame, unpack_frame
from edge.offline.sync_message import Call
from edge.offline.sync_seal import SUITE

ANSWER_MAX_BYTES = 4 * 1024 * 1024

_SCHEMA = 1
_ANSWERED = b"edgekit answer 1\n"  # before what headquarters signs
_REFUSALS: Mapping[str, type[SyncError]] = {
    "COLLECTOR-003": SyncUnregisteredError,
    "COLLECTOR-004": SyncQuotaError,
    "COLLECTOR-005": SyncQuotaError,
}
_RETRY_AFTER_MAX_S = 3600.0  # headquarters may not silence a device for longer


@dataclass(frozen=True)
class Answer:
    """What headquarters says to one call, its signature checked.

    Attributes:
        time: Headquarters' clock.
        held: Ids of pieces that are safe there.
        refused: Ids that it will not take, and why.
        wanted: Numbers of entries that it lacks though later ones are there.
        notes: What it tells the device, each with its number ``n``, in order.
        more: Whether there are more notes than fitted in.
        erased: For each erasure that it holds, by its entry's number, how many copies of records it destroyed.
    """

    time: datetime
    held: frozenset[str]
    refused: Mapping[str, str]
    wanted: tuple[int, ...]
    notes: tuple[Mapping[str, Any], ...]
    more: bool
    erased: Mapping[int, int]


def pack_answer(
    key: Ed25519PrivateKey,
    device: str,
    call: Call,
    *,
    time: datetime,
    held: Sequence[str] = (),
    refused: Mapping[str, str] | None = None,
    wanted: Sequence[int] = (),
    notes: Sequence[Mapping[str, Any]] = (),
    more: bool = False,
    erased: Mapping[int, int] | None = None,
    refusal: EdgeKitError | None = None,
    retry_after_s: float = 0.0,
) -> bytes:
    """Sign and compress headquarters' answer to ``call``: what it holds and says, or why it takes nothing."""
    told = json.dumps(list(notes), ensure_ascii=False).encode()
    key_of_notes = X25519PublicKey.from_public_bytes(bytes.fromhex(call.notes_for))
    document = {
        "schema": _SCHEMA,
        "device": device,
        "nonce": call.nonce,
        "head": [call.head_seq, call.head_hash],
        "time": time.isoformat(),
        "held": list(held),
        "refused": dict(refused or {}),
        "wanted": list(wanted),
        "notes": b64encode(SUITE.encrypt(told, key_of_notes, info=_about(device, call))).decode(),
        "more": more,
        "erased": dict(erased or {}),
        "refusal": {**refusal.as_dict(), "retry_after_s": retry_after_s} if refusal else None,
    }
    body = json.dumps(document, ensure_ascii=False).encode()
    return pack_frame(key.sign(_ANSWERED + body), body)


def unpack_answer(
    data: bytes, headquarters: Ed25519PublicKey, device: str, call: Call, key: X25519PrivateKey
) -> Answer:
    """Read an answer and check that it is headquarters', for this call, and says nothing about what was not sent.

    Args:
        data: As it came.
        headquarters: The key that signs answers.
        device: Id of this device.
        call: That was answered.
        key: Opens the notes; its public half stands in ``call``.

    Raises:
        AcknowledgementError: It is not; the message says which.
        SyncError: Headquarters takes nothing of this device now, and says why.
    """
    try:
        signature, body = unpack_frame(data, ANSWER_MAX_BYTES)
        headquarters.verify(signature, _ANSWERED + body)
        document = json.loads(body)
        if (document["device"], document["nonce"], document["head"]) != (
            device,
            call.nonce,
            [call.head_seq, call.head_hash],
        ):
            raise AcknowledgementError("The answer is for another call: an old one again, or one of another device.")
        if refusal := document["refusal"]:
            raise _refused(refusal)
        notes = json.loads(SUITE.decrypt(b64decode(document["notes"]), key, info=_about(device, call)))
        held, refused = frozenset(map(str, document["held"])), {str(k): str(v) for k, v in document["refused"].items()}
        answer = Answer(
            datetime.fromisoformat(document["time"]),
            held,
            refused,
            tuple(map(int, document["wanted"])),
            tuple(dict(note) for note in notes),
            bool(document["more"]),
            {int(seq): int(count) for seq, count in document["erased"].items()},
        )
    except InvalidSignature as error:
        raise AcknowledgementError("The answer is not signed by headquarters' key.") from error
    except (*MALFORMED, InvalidTag) as error:
        raise AcknowledgementError("The answer is none that headquarters' collector gives.") from error
    if unknown := (held | refused.keys()) - set(call.pieces):
        raise AcknowledgementError(f"The answer acknowledges {min(unknown)[:80]}, which this call did not ask about.")
    return answer


def _refused(document: Mapping[str, Any]) -> SyncError:
    """Why headquarters takes nothing, as this device's own error."""
    retry_after_s = min(max(0.0, float(document["retry_after_s"])), _RETRY_AFTER_MAX_S)
    said = "".join(filter(str.isprintable, str(document["problem"])))[:500]
    kind = _REFUSALS.get(str(document["code"]), SyncRefusedError)
    return kind(f"Headquarters says {document['code']}: {said}", retry_after_s=retry_after_s)


def _about(device: str, call: Call) -> bytes:
    """What sealed notes are bound to."""
    return f"edgekit notes\n{device}\n{call.nonce}".encode()
