from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from devices.malformed import place_and_reason


class Inner(BaseModel):
    size: int


class Document(BaseModel):
    files: list[Inner] = []

    @model_validator(mode="after")
    def _holds_a_file(self) -> Document:
        if not self.files:
            raise ValueError("there is no file")
        return self


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"files": [{"size": 1}, {}]}, "files.1.size: Field required"),
        ({}, "the document: Value error, there is no file"),
    ],
)
def test_the_first_fault_is_told_with_its_place(document: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Document.model_validate(document)
    assert place_and_reason(caught.value) == said
