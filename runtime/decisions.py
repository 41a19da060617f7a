"""``/v1/decisions``: the review queue over HTTP, for whoever logs in with a reviewer's token.

The kiosk's browser may score without a token, so every request here needs one, on loopback too. What a review is and
where it is kept is ``edge``'s; this module knows routes, bodies and who calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from flask import Blueprint, Response, abort, jsonify, request

from devices.errors import RequestError

# what a browser may show by itself; anything else is offered as a file
_SHOWN = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"%PDF-", "application/pdf"))


class Decisions(Protocol):
    """What the routes need of ``edge.review.Reviews``; each raises errors of the kit."""

    def queue(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Cases: what waits, the riskiest first, or what was decided, the latest first."""
        ...

    def show(self, decision_id: str) -> dict[str, Any]:
        """One case with its receipt and what was done with it."""
        ...

    def file(self, decision_id: str, index: int) -> bytes:
        """One of its papers."""
        ...

    def review(self, decision_id: str, document: Any, login: str) -> dict[str, Any]:
        """Take the verdict of the person with that token."""
        ...

    def reopen(self, decision_id: str, document: Any, login: str) -> dict[str, Any]:
        """Open a closed case again, for the person with that token."""
        ...

    def ask(self, decision_id: str, document: Any, login: str) -> dict[str, Any]:
        """Take what the customer asks for."""
        ...


def create_blueprint(decisions: Decisions | None, login: Callable[[str | None], str]) -> Blueprint:
    """The routes.

    Args:
        decisions: None where the server keeps no journal; every request is answered 404 then.
        login: From the ``Authorization`` header to the name of the reviewer; raises what the request is answered with.
    """
    blueprint = Blueprint("decisions", __name__)
    held = decisions or _Nowhere()

    def who() -> str:
        return login(request.headers.get("Authorization"))

    @blueprint.get("/v1/decisions")
    def queue() -> Response:
        who()
        return jsonify(held.queue(request.args.to_dict()))

    @blueprint.get("/v1/decisions/<decision_id>")
    def show(decision_id: str) -> Response:
        who()
        return jsonify(held.show(decision_id))

    @blueprint.get("/v1/decisions/<decision_id>/files/<index>")
    def file(decision_id: str, index: str) -> Response:
        who()
        if not (index.isascii() and index.isdecimal() and len(index) <= 3):
            abort(404)
        data = held.file(decision_id, int(index))
        kind = next((kind for magic, kind in _SHOWN if data.startswith(magic)), "application/octet-stream")
        return Response(data, content_type=kind)

    @blueprint.post("/v1/decisions/<decision_id>/review")
    def review(decision_id: str) -> Response:
        name = who()
        return jsonify(held.review(decision_id, _body(), name))

    @blueprint.post("/v1/decisions/<decision_id>/reopen")
    def reopen(decision_id: str) -> Response:
        name = who()
        return jsonify(held.reopen(decision_id, _body(), name))

    @blueprint.post("/v1/decisions/<decision_id>/requests")
    def ask(decision_id: str) -> Response:
        name = who()
        return jsonify(held.ask(decision_id, _body(), name))

    return blueprint


def _body() -> Any:
    try:
        document = request.get_json(force=True, silent=True)
    except RecursionError as error:
        raise RequestError("The body is JSON of too many levels.") from error
    if not isinstance(document, dict):
        raise RequestError("The body must be a JSON object; /openapi.json describes it.")
    return document


class _Nowhere:
    """A server without a journal."""

    def queue(self, arguments: Mapping[str, str]) -> NoReturn:
        abort(404, "This server keeps no journal, so it has no decisions.")

    def show(self, decision_id: str) -> NoReturn:
        self.queue({})

    def file(self, decision_id: str, index: int) -> NoReturn:
        self.queue({})

    def review(self, decision_id: str, document: Any, login: str) -> NoReturn:
        self.queue({})

    def reopen(self, decision_id: str, document: Any, login: str) -> NoReturn:
        self.queue({})

    def ask(self, decision_id: str, document: Any, login: str) -> NoReturn:
        self.queue({})
