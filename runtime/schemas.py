"""JSON schemas (2020-12) of what the HTTP API takes and answers, by name, for ``runtime.openapi``.

Receipts and applications are checked by ``edge``, which this package may not import; a test compares the two.
"""

from __future__ import annotations

from typing import Any, get_args

from runtime.readable import Unreadable
from runtime.tensors import DATATYPES
from runtime.text import LONGEST_TEXT

Schema = dict[str, Any]

MAX_TEXTS = 256
MAX_CASES = 200  # in one answer
MAX_REASON = 2000  # characters of a verdict's reason

_STRING: Schema = {"type": "string"}
_PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TIME: Schema = {"type": "string", "format": "date-time"}
# what Python's str.strip takes away; \s of JSON Schema's regular expressions is another set
_SPACE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_BLANK = f"[^{_SPACE}]"
_CONTROL = r"\u0000-\u0008\u000b\u000c\u000e-\u001f"
_PRINTABLE = f"^[^{_CONTROL}]*$"
# what Python's str.splitlines takes for the end of a line
_ENDS = r"\u0000-\u0008\u000a-\u001f\u0085\u2028\u2029"
_ONE_LINE = f"^[^{_ENDS}]*[^{_SPACE}{_ENDS}][^{_ENDS}]*$"
_PRINTABLE_NOT_BLANK = f"^[^{_CONTROL}]*[^{_SPACE}{_CONTROL}][^{_CONTROL}]*$"


def ref(name: str) -> Schema:
    """A reference to one of ``schemas``."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(*required: str, **properties: Schema) -> Schema:
    """An object with these members and no others; unless some are named, every one is required."""
    return _open(*required, **properties) | {"additionalProperties": False}


def _open(*required: str, **properties: Schema) -> Schema:
    """An object that may have further members; unless some are named, every member here is required."""
    return {"type": "object", "required": list(required or properties), "properties": properties}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _text(longest: int, pattern: str = _PRINTABLE_NOT_BLANK) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}


def _yuan(**limits: float) -> Schema:
    return {"type": "number", "minimum": -1e12, "maximum": 1e12, "description": "Yuan.", **limits}


def schemas() -> dict[str, Schema]:
    """Every schema by its name."""
    return {
        **_problem(),
        **_ocr_and_text(),
        **_application(),
        **_receipt(),
        **_decisions(),
        **_status(),
        **_open_inference(),
    }


def _problem() -> dict[str, Schema]:
    properties = {
        "type": {"type": "string", "format": "uri", "description": "urn:edgekit:error: and the code."},
        "title": _STRING,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "The problem again, as RFC 9457 names it."},
        "code": {"type": "string", "pattern": "^[A-Z]+-[0-9]{3}$", "description": "For programs and the handbook."},
        "problem": {"type": "string", "description": "What happened, with the values seen."},
        "state": {"type": "string", "description": "What the device does now."},
        "remedy": {"type": "string", "description": "What to do."},
        "error": {"type": "string", "description": "The problem again, where KServe's clients look."},
        "request_id": _or_null(_STRING),
    }
    return {"Problem": closed(**properties)}


def _ocr_and_text() -> dict[str, Schema]:
    point = _list({"type": "number"}, minItems=2, maxItems=2)
    box = _list(point, minItems=4, maxItems=4) | {
        "description": "Corners x, y in pixels, clockwise from the line's upper left."
    }
    line = closed(text=_STRING, confidence=_PROBABILITY, box=ref("Box"))
    side = {"type": "integer", "minimum": 1, "description": "Pixels."}
    page = closed(width=side, height=side, lines=_list(ref("Line")))
    texts = _list(_text(LONGEST_TEXT, _NOT_BLANK), minItems=1, maxItems=MAX_TEXTS)
    labels = {"type": "object", "additionalProperties": _PROBABILITY}
    judged = "Why the labels are no judgement and no score uses them; not there if the text can be judged."
    why = {"type": "string", "enum": list(get_args(Unreadable)), "description": judged}
    labelled = closed("text", "labels", text=_STRING, labels=labels, unreadable=why)
    return {
        "Box": box,
        "Line": line,
        "Page": page,
        "Pages": closed(pages=_list(ref("Page"))),
        "Texts": _open(texts=texts),
        "TextLabels": closed(results=_list(labelled)),
    }


def _application() -> dict[str, Schema]:
    time = _TIME | {"description": "ISO 8601 with its zone."}
    kinds = {"type": "string", "enum": ["id_card", "income_proof", "bank_statement"]}
    inputs: Schema = {"type": "object", "additionalProperties": {"type": "object"}}
    return {
        "Application": _open(
            *("application_id", "applicant", "loan", "documents", "transactions"),
            application_id=_text(100, _ONE_LINE),
            applicant=_open(name=_text(100), id_number=_text(40), declared_monthly_income=_yuan(minimum=0)),
            loan=_open(
                amount=_yuan(minimum=0, exclusiveMinimum=0),
                term_months={"type": "integer", "minimum": 1, "maximum": 600},
                purpose=_text(LONGEST_TEXT),
            ),
            documents=_list(_open(kind=kinds, file=_text(200)), maxItems=20),
            transactions=_list(
                _open(
                    *("time", "amount", "balance", "channel", "counterparty"),
                    time=time,
                    amount=_yuan(),
                    balance=_yuan(),
                    channel={"type": "string", "maxLength": 100, "pattern": _PRINTABLE},
                    counterparty={"type": "string", "maxLength": 200, "pattern": _PRINTABLE},
                    currency=_or_null({"type": "string", "maxLength": 20, "pattern": _PRINTABLE}),
                )
            ),
            score_inputs=inputs | {"description": "By the policy's scores and their models' inputs."},
        )
    }


def _receipt() -> dict[str, Schema]:
    points = {"type": "integer", "minimum": 0, "maximum": 100}
    index = {"type": "integer", "minimum": 0}
    place = {"page": index, "box": ref("Box")}
    field = closed("value", "confidence", "box", value={}, confidence=_PROBABILITY, **place)
    found: dict[str, Schema] = {"code": _STRING, "text": _STRING, "rows": _list(index), **place}
    problem = closed("code", "text", "field", field=_or_null(_STRING), **found)
    evidence = closed(
        "text",
        file=_STRING,
        field=_STRING,
        phrase=closed(start=index, end={"type": "integer", "minimum": 1}),
        transaction=index,
        **found,
    )
    document = closed(
        kind=_STRING,
        file=_STRING,
        fields={"type": "object", "additionalProperties": field},
        problems=_list(problem),
    )
    behaviour = closed(
        probability=_or_null(_PROBABILITY),
        top_transactions=_list(closed(index=index, weight={"type": "number"})),
    )
    receipt = closed(
        decision_id={"type": "string", "format": "uuid"},
        application_id=_STRING,
        time=_TIME,
        device_id=_STRING,
        profile=_STRING,
        bundle=closed(name=_STRING, version=_STRING, sha256=_SHA256),
        score=points | {"description": "Higher means more risk."},
        risk_level={"type": "string", "enum": ["low", "medium", "high"]},
        decision={"type": "string", "enum": ["pass", "review"]},
        reasons=_list(closed(code=_STRING, text=_STRING, contribution=points, evidence=_list(evidence))),
        documents=_list(document),
        text_risk=closed(labels={"type": "object", "additionalProperties": _PROBABILITY}),
        behaviour=behaviour,
        scores={"type": "object", "additionalProperties": _PROBABILITY} | {"description": "Of further models."},
        models=_list(ref("Model")),
        offline=ref("Offline"),
        timings_ms={"type": "object", "additionalProperties": {"type": "number"}},
    )
    authority = {"type": "string", "enum": ["full", "reduced", "review_only", "stopped"]}
    code = _STRING | {"description": "Of the journal's entry: its number and a part of its hash."}
    offline = closed(since=_or_null(_TIME), authority=authority, journal=code)
    return {
        "Receipt": receipt | {"required": [name for name in receipt["required"] if name != "scores"]},
        "Model": closed(name=_STRING, sha256=_SHA256, backend=_STRING, precision=_STRING),
        "Offline": offline | {"required": ["since", "authority"]},
    }


def _decisions() -> dict[str, Schema]:
    level = {"type": "string", "enum": ["low", "medium", "high"]}
    verdict = {"type": "string", "enum": ["approve", "decline"]}
    request = {"type": "string", "enum": ["explanation", "human_decision"]}
    language = {"type": "string", "enum": ["zh", "en"]}
    points = {"type": "integer", "minimum": 0, "maximum": 100}
    name = _STRING | {"description": "Of the reviewer's token."}
    words = {"reason": _or_null(_STRING), "reviewer": _or_null(_STRING)}  # null once they were erased
    case = {
        "decision_id": _STRING,
        "code": _STRING | {"description": "Of the decision's entry in the journal."},
        "time": _TIME,
        "score": points,
        "risk_level": level,
        "decision": {"type": "string", "enum": ["pass", "review"]},
        "amount": _yuan(minimum=0),
        "reasons": _list(closed(code=_STRING, contribution=points)),
        "state": {"type": "string", "enum": ["open", "closed"]},
        "needs_two": {"type": "boolean", "description": "Whether two persons have to agree."},
        "votes": _list(closed(login=name, verdict=verdict)),
        "opened_by": _list({"type": "string", "enum": ["human_decision", "reopening", "disagreement"]}),
        "verdict": _or_null(verdict),
    }
    review = closed(time=_TIME, code=_STRING, verdict=verdict, login=name, final={"type": "boolean"}, **words)
    asked = closed(time=_TIME, code=_STRING, kind=request, language=language, login=name)
    other = closed(time=_TIME, code=_STRING, score=points, level=level, decision=_STRING, model=_STRING, **words)
    shown = {
        "records_erased": {"type": "boolean"},
        "receipt": _or_null(ref("Receipt")),
        "application": _or_null({"type": "object"}),
        "reviews": _list(review),
        "requests": _list(asked),
        "reopenings": _list(closed(time=_TIME, code=_STRING, login=name, **words)),
        "disagreements": _list(other),
    }
    given = {"reason": _text(MAX_REASON), "reviewer": _text(100)}
    total = _or_null({"type": "integer", "minimum": 0}) | {"description": "Null where nobody counted."}
    going_on = _or_null(_STRING) | {"description": "Null at the end; until then a page may be short, or empty."}
    return {
        "Case": closed(**case),
        "Cases": closed(total=total, decisions=_list(ref("Case")), next=going_on),
        "CaseShown": closed(**case, **shown),
        "Verdict": _open("verdict", "reason", verdict=verdict, **given),
        "Reopening": _open("reason", **given),
        "CustomerRequest": _open("kind", kind=request, language=language),
        "CustomerAnswer": closed(**case, kind=request, text=_or_null(_STRING)),
    }


def _status() -> dict[str, Schema]:
    backlog = _or_null({"type": "integer", "minimum": 0}) | {"description": "Null where the journal cannot be read."}
    status = _open(
        device_id=_STRING,
        profile=_STRING,
        bundle=_open(name=_STRING, version=_STRING, sha256=_SHA256, signed_by=_STRING),
        models=_list(ref("Model")),
        journal=_open(backlog=backlog),
        offline=ref("Offline"),
    )
    return {"Status": status}


def _open_inference() -> dict[str, Schema]:
    datatype = {"type": "string", "enum": list(DATATYPES)}
    shape = _list({"type": "integer", "minimum": 0})
    parameters = {"type": "object", "description": "Those of no meaning here are passed over."}
    size = parameters | {"properties": {"binary_data_size": {"type": "integer", "minimum": 0}}}
    raw = parameters | {"properties": {"binary_data": {"type": "boolean"}}}
    all_raw = parameters | {"properties": {"binary_data_output": {"type": "boolean"}}}
    data = _list({}) | {"description": "Row by row, flat or nested."}
    tensor = {"name": _STRING, "datatype": datatype, "shape": shape, "parameters": size, "data": data}
    described = closed(name=_STRING, datatype=_STRING, shape=_list({"type": "integer", "minimum": -1}))
    configured = closed(name=_STRING, data_type=_STRING, dims=_list({"type": "integer", "minimum": -1}))
    platform = {"type": "string", "enum": ["openvino", "onnxruntime_onnx", "paddle_inference"]}
    return {
        "Server": closed(name=_STRING, version=_STRING, extensions=_list(_STRING)),
        "Live": closed(live={"type": "boolean"}),
        "Ready": closed(ready={"type": "boolean"}),
        "ModelReady": closed(name=_STRING, ready={"type": "boolean"}),
        "ModelMetadata": closed(
            name=_STRING,
            versions=_list(_STRING),
            platform=platform,
            inputs=_list(described),
            outputs=_list(described),
        ),
        "ModelConfig": closed(
            name=_STRING,
            platform=platform,
            backend=_STRING,
            max_batch_size={"type": "integer"},
            input=_list(configured),
            output=_list(configured),
        ),
        "RepositoryIndex": _list(closed(name=_STRING, version=_STRING, state=_STRING, reason=_STRING)),
        "InferenceRequest": _open(
            "inputs",
            id=_STRING,
            parameters=all_raw,
            inputs=_list(_open("name", "datatype", "shape", **tensor)),
            outputs=_list(_open("name", name=_STRING, parameters=raw)),
        ),
        "InferenceResponse": _open(
            "model_name",
            "model_version",
            "outputs",
            model_name=_STRING,
            model_version=_STRING,
            id=_STRING,
            outputs=_list(_open("name", "datatype", "shape", **tensor)),
        ),
    }
