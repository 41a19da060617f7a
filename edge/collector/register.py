"""Which devices there are: each by its journal's key, and by the certificate that speaks for that key.

The rules:
 1. The first certificate that speaks for a device stays its own, by subject, so that a renewed one is the same.
 2. A subject is that of one device at a time. Another device that shows it is refused until the first is retired.
 3. A device that was retired is refused, whatever it shows.
 4. Where only registered devices may come, one that nobody added is refused, and listed as unknown.

Certificates are looked at with calls, and only where the collector knows the authority of devices; without TLS, which
is for loopback, a device is its key alone.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, VerificationError
from cryptography.x509.verification import Store as Trusted

from devices.errors import CollectorError, RegisterError
from edge.offline.sync_message import Message
from edge.offline.sync_voucher import speaks_for

_DEVICE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_UNKNOWN_MOST = 1000  # that are listed: whoever has one certificate can make keys without end


@dataclass(frozen=True)
class Registered:
    """A device as the register has it.

    Attributes:
        device: Its id.
        state: ``registered``, ``retired``, or ``unknown`` if it came and was never added.
        since: When it came into this state, ISO 8601.
        why: The reason that was given, if any.
        subject: Of its certificate; None while none was seen.
        fingerprint: SHA-256 of the last one that it showed.
        skew_s: How far its clock was ahead at its last call.
    """

    device: str
    state: str
    since: str
    why: str
    subject: str | None
    fingerprint: str | None
    skew_s: float | None


class Register:
    """The register in the collector's file. Writes within the transaction that is open.

    Args:
        connection: The collector's.
        now: Headquarters' clock.
        alarm: Called with a device and what is wrong with it.
        authorities: Of devices' certificates; without any no certificate is asked for.
        only_registered: Whether a device has to be added before it may come.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        now: Callable[[], datetime],
        alarm: Callable[[str, str], None],
        *,
        authorities: Sequence[x509.Certificate],
        only_registered: bool,
    ) -> None:
        self._connection, self._now, self._alarm = connection, now, alarm
        self._authorities, self._only_registered = authorities, only_registered

    def find(self, device: str) -> Registered | None:
        """A device; None if it neither came nor was added."""
        row = self._connection.execute("SELECT * FROM register WHERE device = ?", (device,)).fetchone()
        return Registered(*row) if row else None

    def admit(self, message: Message, skew_s: float | None) -> None:
        """Let a device in, and keep what was learned of it.

        Args:
            message: Its own; with a call it brings the certificate.
            skew_s: How far its clock is ahead; None where the message does not tell.

        Raises:
            RegisterError: It may not come.
        """
        device, known = message.device, self.find(message.device)
        if known and known.state == "retired":
            raise self._refused(device, f"was retired on {known.since[:10]} ({known.why})")
        certificate = self._certificate(message) if message.call and self._authorities else None
        subject = certificate.subject.rfc4514_string() if certificate else None
        welcome = not self._only_registered or (known is not None and known.state == "registered")
        if known is None and not (welcome or self._has_room()):
            raise RegisterError(f"Device {device} is not in the register, and too many others are not either.")
        if subject:
            self._check_subject(device, known, subject)
        if known is None or (known.state == "unknown" and welcome):
            self._put(device, "registered" if welcome else "unknown", "")
        if certificate:
            values = (subject, certificate.fingerprint(SHA256()).hex(), device)
            self._connection.execute("UPDATE register SET subject = ?, fingerprint = ? WHERE device = ?", values)
        if skew_s is not None:
            self._connection.execute("UPDATE register SET skew_s = ? WHERE device = ?", (skew_s, device))
        if not welcome:
            raise RegisterError(f"Device {device} is not in the register.")

    def add(self, device: str, subject: str | None) -> None:
        """Register a device, also one that was retired.

        Args:
            device: Its id, 32 hexadecimal characters.
            subject: Of the certificate that it has to show; None leaves what was seen, or takes the first one.

        Raises:
            CollectorError: ``device`` is no device's id, or the subject is that of another one.
        """
        if not _DEVICE.fullmatch(device):
            raise CollectorError(
                f"{device[:80]!r} is no device's id, which has 32 hexadecimal characters.",
                remedy="'edgekit collector devices list' shows it once the device has called.",
            )
        known = self.find(device)
        subject = subject or (known.subject if known else None)
        if subject and (other := self._holder(subject, device)):
            raise CollectorError(
                f"The certificate {subject} is that of device {other}.", remedy="Retire that device first."
            )
        self._put(device, "registered", "")
        self._connection.execute("UPDATE register SET subject = ? WHERE device = ?", (subject, device))

    def retire(self, device: str, why: str) -> None:
        """Refuse a device from now on; what it sent stays.

        Raises:
            CollectorError: The register does not have it.
        """
        if self.find(device) is None:
            raise CollectorError(
                f"The register has no device {device[:80]}.",
                remedy="'edgekit collector devices list' shows those it has.",
            )
        self._put(device, "retired", why)

    def _put(self, device: str, state: str, why: str) -> None:
        self._connection.execute(
            "INSERT INTO register (device, state, since, why) VALUES (?, ?, ?, ?) ON CONFLICT (device) "
            "DO UPDATE SET state = excluded.state, since = excluded.since, why = excluded.why",
            (device, state, self._now().isoformat(timespec="seconds"), why),
        )

    def _has_room(self) -> bool:
        count = self._connection.execute("SELECT count(*) FROM register WHERE state = 'unknown'").fetchone()[0]
        return int(count) < _UNKNOWN_MOST

    def _holder(self, subject: str, device: str) -> str | None:
        query = "SELECT device FROM register WHERE subject = ? AND state = 'registered' AND device <> ?"
        row = self._connection.execute(query, (subject, device)).fetchone()
        return str(row[0]) if row else None

    def _check_subject(self, device: str, known: Registered | None, subject: str) -> None:
        if known and known.state == "registered" and known.subject not in (None, subject):
            raise self._refused(device, f"is registered with the certificate {known.subject}, and shows {subject}")
        if other := self._holder(subject, device):
            raise self._refused(device, f"shows the certificate {subject}, which is that of device {other}")

    def _certificate(self, message: Message) -> x509.Certificate:
        if message.voucher is None:
            raise self._refused(message.device, "brings no certificate that speaks for it")
        try:
            leaf, *others = x509.load_pem_x509_certificates(message.voucher.chain.encode())
            _verifier(self._authorities, self._now()).verify(leaf, others)
            key, signature = leaf.public_key(), bytes.fromhex(message.voucher.signature)
            subject = leaf.subject.rfc4514_string()
        except VerificationError as error:
            raise self._refused(message.device, f"shows a certificate that is not good: {error}") from error
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise self._refused(message.device, "shows a certificate that cannot be read") from error
        if not subject or not speaks_for(key, signature, bytes.fromhex(message.public_key)):
            raise self._refused(message.device, "shows a certificate that does not speak for it")
        return leaf

    def _refused(self, device: str, why: str) -> RegisterError:
        self._alarm(device, f"it {why}")
        return RegisterError(f"Device {device} {why}.")


def _verifier(authorities: Sequence[x509.Certificate], now: datetime) -> x509.verification.ClientVerifier:
    """Checks chains, dates and what a certificate is for; a bank's own authority need not be one of the web's."""
    every = ExtensionPolicy.permit_all()
    authority = every.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)  # cA is looked at in any case
    device = every.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)
    builder = PolicyBuilder().store(Trusted(list(authorities))).time(now)
    return builder.extension_policies(ca_policy=authority, ee_policy=device).build_client_verifier()


def _is_for_clients(_: object, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError(f"{certificate.subject.rfc4514_string()} is not for clients")
