"""The server, and who may call it."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class ServeError(EdgeKitError):
    """The server could not start or is not ready."""

    code = "SERVE-001"
    exit_code = 9
    default_state = "The server is not running."


class OverloadedError(ServeError):
    """As many requests wait as may wait."""

    code = "SERVE-002"
    default_state = "The request was refused before any work was done; the server goes on with the others."
    default_remedy = "Send it again after the seconds in Retry-After."


class DeadlineError(ServeError):
    """A request's time was up before its answer was ready."""

    code = "SERVE-003"
    default_state = "The request was given up; nothing of it was kept."
    default_remedy = "Send it again after the seconds in Retry-After, or with a longer X-Timeout-Ms."


class ClientGoneError(ServeError):
    """The client closed its connection before its answer was ready: nobody reads this, the log counts it."""

    code = "SERVE-004"
    default_state = "The request was given up; nothing of it was kept."
    default_remedy = "Nothing needs to be done."


class AccessError(EdgeKitError):
    """The file of tokens cannot be read or written, or a token's name does not fit."""

    code = "ACCESS-001"
    exit_code = 12


class ExposureError(AccessError):
    """The server was asked to serve other machines without a token or without TLS."""

    code = "ACCESS-002"
    default_state = "The server was not started."


class CertificateError(AccessError):
    """The TLS certificate or its key cannot be used."""

    code = "ACCESS-003"
    default_state = "The server was not started."
    default_remedy = "Give a certificate and its key in PEM form, the key without a password."


class TokenError(AccessError):
    """A request carries no token that this device knows."""

    code = "ACCESS-004"
    default_state = "The request was refused before it was looked at."
    default_remedy = "Send 'Authorization: Bearer TOKEN'; 'edgekit token add NAME' on the device makes one."


class HostError(AccessError):
    """A request was sent to a name that is not this server's."""

    code = "ACCESS-005"
    default_state = "The request was refused before it was looked at."


class OriginError(AccessError):
    """A request was sent by a web page of another site."""

    code = "ACCESS-006"
    default_state = "The request was refused before it was looked at."
    default_remedy = "Use the pages of this server, or a program that is not a web page."
