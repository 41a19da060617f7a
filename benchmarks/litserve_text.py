"""LitServe with the kit's text model in it, as LitServe's own examples do it; runs in LitServe's environment.

python litserve_text.py ARTIFACT PORT THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litserve

from runtime.predictor import RunOptions
from runtime.text import TextResult, load_text_classifier


class TextRisk(litserve.LitAPI):
    """The same classifier, and the same request and answer as the kit's ``/v1/text-risk``."""

    def setup(self, device: str) -> None:
        """Load the model, in LitServe's worker process."""
        options = RunOptions(threads=int(sys.argv[3]))
        self.classifier = load_text_classifier(Path(sys.argv[1]), "openvino", options)

    # without a type: LitServe would take one for a parameter of the query
    def decode_request(self, request) -> list[str]:  # type: ignore[no-untyped-def]
        """The texts."""
        texts: list[str] = request["texts"]
        return texts

    def predict(self, texts: list[str]) -> list[TextResult]:
        """Their labels."""
        return self.classifier.classify(texts)

    def encode_response(self, results: list[TextResult]) -> dict[str, Any]:
        """As the kit answers."""
        return {"results": [{"text": each.text, "labels": each.labels} for each in results]}


if __name__ == "__main__":
    server = litserve.LitServer(TextRisk(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="error")
