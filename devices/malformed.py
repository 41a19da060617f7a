"""Where a document does not fit its form, said alike wherever one is read."""

from __future__ import annotations

from pydantic import ValidationError


def place_and_reason(error: ValidationError) -> str:
    """The first thing that is wrong, to follow "is malformed at": ``files.0.size: Field required``."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the document'}: {first['msg']}"
