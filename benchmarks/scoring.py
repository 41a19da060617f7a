"""``./build.sh bench scoring``: can the score be believed?

    documents   fields, ID numbers and rows of papers in layouts that nobody tuned for; forged papers and honest ones
    text        labels of purposes, their probabilities and phrases; long texts and such as cannot be read
    behaviour   the behaviour model against gradient boosting on the same histories
    graph       a graph network, through ``compress model``, against logistic regression on a public network
    card        whether the score's probabilities are what they say
    whole       what a whole application takes: three papers, the purpose, 200 transactions

Rows appear as they are finished. A goal that is not met is said and is no error.
"""

from __future__ import annotations

from benchmarks.harness import Measure
from benchmarks.runtime_box import measure_application
from benchmarks.scoring_behaviour import measure_behaviour
from benchmarks.scoring_card import measure_card
from benchmarks.scoring_documents import measure_documents
from benchmarks.scoring_graph import measure_graph
from benchmarks.scoring_text import measure_text

MEASURES: dict[str, Measure] = {
    "documents": measure_documents,
    "text": measure_text,
    "behaviour": measure_behaviour,
    "graph": measure_graph,
    "card": measure_card,
    "whole": measure_application,
}
