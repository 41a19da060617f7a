"""Redraw ``specimens/``: one more paper of each kind, in the layouts that the sample application does not use.

    python -m examples.documents.draw

Writes the papers and ``truth.json`` with their fields. Needs Debian's fonts-noto-cjk (see README.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from examples.documents import invent, render

FOLDER = Path(__file__).parent / "specimens"
SEED = 11


def main() -> None:
    """Write the papers of one more invented person."""
    rng = np.random.default_rng(SEED)
    card = invent.card(rng)
    proof = replace(invent.proof(rng), name=card.name, id_number=card.id_number)
    account = replace(invent.statement(rng, rows=34), account_name=card.name)

    FOLDER.mkdir(exist_ok=True)
    drawn = render.render_id_card(card, layout="mirrored", sides="both", scale=1.1).photographed(rng)
    drawn.picture.save(FOLDER / "id_card_mirrored.jpg", quality=78)
    drawn = render.render_income_proof(proof, layout="form", scale=1.5).photographed(rng)
    drawn.picture.save(FOLDER / "income_proof_form.jpg", quality=78)
    render.write_statement(account, FOLDER / "statement_two_columns.pdf", layout="two_columns", rows_per_page=20)

    papers = (
        ("id_card", "id_card_mirrored.jpg", card.fields()),
        ("income_proof", "income_proof_form.jpg", proof.fields()),
        ("bank_statement", "statement_two_columns.pdf", account.fields()),
    )
    truth = {"documents": [{"kind": kind, "file": file, "fields": fields} for kind, file, fields in papers]}
    text = json.dumps(truth, ensure_ascii=False, indent=1) + "\n"
    (FOLDER / "truth.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
