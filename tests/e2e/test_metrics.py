"""What a served device shows at /metrics is what the list of metrics, and so the documents, says."""

from __future__ import annotations

import requests
from prometheus_client.parser import text_string_to_metric_families

from runtime.metrics import METRICS
from tests.e2e.hostile import Watched

ONLY_WITH_A_GPU = {"edgekit_memory_gpu_bytes", "edgekit_memory_gpu_limit_bytes"}


def test_a_device_shows_every_documented_metric_and_no_other(steady: Watched) -> None:
    text = requests.get(f"{steady.url}/metrics", timeout=10).text
    shown = {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("edgekit_") and not family.name.endswith("_created")
    }
    assert set(shown) | ONLY_WITH_A_GPU == set(METRICS)
    for name, family in shown.items():
        assert (family.type, family.documentation) == METRICS[name][:2]
        assert all(set(METRICS[name].labels) <= set(sample.labels) for sample in family.samples), name
