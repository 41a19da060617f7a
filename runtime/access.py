"""Who may call: rules over a request's headers, and the rule that decides where the server may listen.

- The ``Host`` header must name this server. Otherwise a web page could give its own name the address 127.0.0.1 and
  talk to the device as if it were its own site (DNS rebinding). Loopback names always fit; on another address also
  the names in the TLS certificate, by which callers reach the server anyway.
- A request that may change something and says in ``Origin`` which page sent it must come from this server's pages.
  No CORS header is ever sent, so a page of another site can read nothing.
- The review queue needs the token of a reviewer everywhere: the kiosk's own browser may score, not read of others.
- On an address that other machines reach, every request needs ``Authorization: Bearer`` and a token, health checks
  excepted, and the server does not start there without a token and TLS.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.errors import ExposureError, HostError, OriginError, RoleError, TokenError
from runtime.tokens import Role, TokenFile

if TYPE_CHECKING:  # the worker, which checks requests, needs no asyncio
    from runtime.tls import Certificate

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/@\s]+))(?::[0-9]{1,5})?", re.IGNORECASE)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REVIEWER = "Log in with a reviewer's token; 'edgekit token add NAME --role reviewer' on the device makes one."
_SHOWN_CHARACTERS = 80  # of a header in a message


@dataclass(frozen=True)
class Access:
    """What a server asks of every request.

    Attributes:
        scheme: By which callers reach it.
        names: Host names that it answers to beside the loopback ones; ``*.`` in front stands for one label.
        tokens: One of these is needed; None where only this machine can call.
    """

    scheme: str = "http"
    names: frozenset[str] = frozenset()
    tokens: TokenFile | None = None

    def check(
        self, method: str, *, host: str | None, origin: str | None, authorization: str | None, open_to_all: bool
    ) -> None:
        """Let a request pass, or say why not. Headers are None where the request has none of that name.

        Args:
            method: Of the request.
            host: Its ``Host`` header.
            origin: Its ``Origin`` header.
            authorization: Its ``Authorization`` header.
            open_to_all: Whether what it asks for needs no token.

        Raises:
            HostError: ``host`` is not this server.
            OriginError: A page of another site sent it.
            TokenError: It needs a token and carries none that is known.
            AccessError: The tokens cannot be read.
        """
        if not self._is_ours(host):
            raise HostError(
                f"This server is not called {(host or '')[:_SHOWN_CHARACTERS]!r}.",
                remedy=f"Call it {', '.join(['localhost', '127.0.0.1', *sorted(self.names)])}.",
            )
        if origin is not None and method not in _READING and origin.lower() != f"{self.scheme}://{host}".lower():
            raise OriginError(f"A web page of {origin[:_SHOWN_CHARACTERS]!r} sent this request.")
        if self.tokens is not None and not open_to_all:
            _caller(self.tokens, authorization)

    def reviewer(self, authorization: str | None) -> str:
        """The name of the reviewer whose token ``authorization`` carries.

        Raises:
            TokenError: It carries none that is known.
            RoleError: Its token is not a reviewer's.
            AccessError: The tokens cannot be read.
        """
        name, role = _caller(self.tokens or TokenFile(), authorization, _REVIEWER)
        if role != "reviewer":
            raise RoleError(f"The token {name!r} is that of a {role}; reviewing takes a reviewer's.")
        return name

    def _is_ours(self, host: str | None) -> bool:
        match = _HOST.fullmatch(host or "")
        if not match:
            return False
        name = (match[1] or match[2]).lower()
        wildcard = "*." + name.partition(".")[2]
        return is_loopback(name) or name in self.names or wildcard in self.names


def _caller(tokens: TokenFile, authorization: str | None, remedy: str | None = None) -> tuple[str, Role]:
    kind, _, token = (authorization or "").partition(" ")
    if kind.lower() != "bearer":
        raise TokenError("The request carries no token.", remedy=remedy)
    if (found := tokens.find(token.strip())) is None:
        raise TokenError("This device does not know the request's token.", remedy=remedy)
    return found


def is_loopback(host: str) -> bool:
    """Whether ``host`` is reached from this machine alone: ``localhost`` or a loopback address, never looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, tokens: TokenFile, certificate: Certificate | None) -> Access:
    """Decide whether the server may listen on ``host``, and what it must ask of requests there.

    Args:
        host: Address or name to listen on.
        tokens: Of this device.
        certificate: For TLS; None serves plain HTTP, which only loopback may.

    Raises:
        ExposureError: Other machines reach ``host``, and a token or TLS is missing.
        AccessError: The tokens cannot be read.
    """
    scheme, names = ("http", frozenset[str]()) if certificate is None else ("https", certificate.names)
    if is_loopback(host):
        return Access(scheme, names)
    missing = [] if tokens.entries() else ["no token"]
    if certificate is None:
        missing.append("no TLS certificate")
    if missing:
        raise ExposureError(
            f"Other machines reach {host or 'an empty address'}, and the server has {' and '.join(missing)}.",
            remedy="Make a token with 'edgekit token add NAME' and give --tls-cert and --tls-key, "
            "or serve on 127.0.0.1.",
        )
    return Access(scheme, names, tokens)
