"""Prometheus metrics of one app. Never personal data, never a free text as a label."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counters of requests and durations; one registry an app, so that two apps in one process do not clash."""

    def __init__(self, models: Mapping[str, str]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter(
            "edgekit_requests_total", "Answered requests.", ["route", "status"], registry=self._registry
        )
        self.latency = Histogram(
            "edgekit_request_seconds",
            "Time to answer, seconds.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        info = Gauge("edgekit_model_info", "1 for each served model.", ["model", "backend"], registry=self._registry)
        for model, backend in models.items():
            info.labels(model, backend).set(1)

    def exposition(self) -> bytes:
        """The text that ``GET /metrics`` answers."""
        return generate_latest(self._registry)
