"""Prometheus metrics of one server. Never personal data, never a free text as a label.

``METRICS`` is all of them, and docs/reference/metrics.md is made of it. Names follow Prometheus' conventions: base
units, ``_total`` on counters, ``_info`` on what only its labels say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from devices.errors import ClientGoneError, DeadlineError, OverloadedError, ServeError, StoppedError
from runtime.predictor import Predictor

# from a short text on a fast box to a long document on a slow one
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_REASONS: dict[type[ServeError], str] = {
    OverloadedError: "queue_full",
    DeadlineError: "deadline",
    ClientGoneError: "client_gone",
    StoppedError: "stopped",
}


class Metric(NamedTuple):
    """What one metric is.

    Attributes:
        kind: As Prometheus names it.
        meaning: One sentence; what scrapes the server gets it as the metric's help.
        labels: What it is told apart by.
    """

    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "edgekit_requests_total": Metric("counter", "Answered requests.", ("route", "status")),
    "edgekit_request_duration_seconds": Metric(
        "histogram", "From a request's arrival at the application to its answer.", ("route",)
    ),
    "edgekit_stage_duration_seconds": Metric(
        "histogram",
        "Of the stages of a request: queue (waiting for a place), load, ocr, in it det, cls and rec, then fields, "
        "text, behaviour, score, journal.",
        ("stage",),
    ),
    "edgekit_requests_running": Metric(
        "gauge", "Requests worked on now; door text is /v1/text-risk, main all else that runs a model.", ("door",)
    ),
    "edgekit_requests_waiting": Metric("gauge", "Requests that wait for a place.", ("door",)),
    "edgekit_requests_rejected_total": Metric(
        "counter",
        "Requests that were given up: queue_full, deadline, client_gone, stopped (the lease has run out), not_ready.",
        ("reason",),
    ),
    "edgekit_text_batch_size": Metric("histogram", "Texts in one run of the text model."),
    "edgekit_model_info": Metric("gauge", "Of each served model.", ("model", "backend")),
    "edgekit_bundle_info": Metric("gauge", "Of the served bundle.", ("name", "version")),
    "edgekit_journal_backlog": Metric("gauge", "Journal entries that headquarters has not acknowledged."),
    "edgekit_review_open": Metric("gauge", "Cases that wait for a person."),
    "edgekit_offline_seconds": Metric("gauge", "Since the last contact with headquarters."),
    "edgekit_memory_rss_bytes": Metric("gauge", "Memory of the worker, as in /v1/status."),
    "edgekit_memory_rss_limit_bytes": Metric("gauge", "What the profile allows it."),
    "edgekit_memory_gpu_bytes": Metric("gauge", "The GPU's memory that the worker holds; only where there is one."),
    "edgekit_memory_gpu_limit_bytes": Metric("gauge", "What the profile allows it of that; only where it does."),
    "edgekit_memory_cache_drops": Metric("gauge", "How often the worker dropped caches because memory was short."),
    "edgekit_worker_restarts": Metric("gauge", "Workers that took over for another one, swaps aside."),
}


class Metrics:
    """What a server counts and measures; one registry each, so that two servers in one process do not clash."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(*_described("requests_total"), registry=registry)
        self._durations = Histogram(*_described("request_duration_seconds"), buckets=_SECONDS, registry=registry)
        self._stages = Histogram(*_described("stage_duration_seconds"), buckets=_SECONDS, registry=registry)
        self._rejected = Counter(*_described("requests_rejected_total"), registry=registry)
        for reason in _REASONS.values():
            self._rejected.labels(reason)
        self._text_batches = Histogram(*_described("text_batch_size"), buckets=_SIZES, registry=registry)
        self._gauges: dict[str, Gauge] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, status).inc()
        self._durations.labels(route).observe(seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Measure one stage of a request."""
        self._stages.labels(name).observe(seconds)

    def rejected(self, error: ServeError) -> None:
        """Count a request that was given up."""
        self._rejected.labels(_REASONS.get(type(error), "not_ready")).inc()

    def text_batch(self, size: int) -> None:
        """Measure one run of the text model."""
        self._text_batches.observe(size)

    def models(self, predictors: Mapping[str, Predictor]) -> None:
        """Show which backend serves each model whenever somebody looks: one may take over from another."""
        self._registry.register(_Models(predictors))

    def info(self, name: str, /, **labels: str) -> None:
        """Say something that only its labels carry: ``edgekit_<name>_info`` is 1.

        Raises:
            ValueError: ``METRICS`` has none of this name, or other labels for it.
        """
        self._gauge(f"{name}_info", labels).set(1)

    def watch(self, name: str, read: Callable[[], float], /, **labels: str) -> None:
        """Show what ``read`` returns whenever somebody looks, as ``edgekit_<name>``.

        Raises:
            ValueError: ``METRICS`` has none of this name, or other labels for it.
        """
        self._gauge(name, labels).set_function(read)

    def exposition(self) -> bytes:
        """The text that ``GET /metrics`` answers."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, labels: dict[str, str]) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(*_described(name), registry=self._registry)
        gauge = self._gauges[name]
        return gauge.labels(**labels) if labels else gauge


def _described(name: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, help and labels, as ``prometheus_client`` takes them."""
    whole = f"edgekit_{name}"
    if whole not in METRICS:
        raise ValueError(f"there is no metric {whole} in METRICS")
    return whole, METRICS[whole].meaning, METRICS[whole].labels


class _Models(Collector):
    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self._predictors = predictors

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(*_described("model_info")[:2], labels=METRICS["edgekit_model_info"].labels)
        for name, predictor in self._predictors.items():
            family.add_metric([name, predictor.backend], 1)
        yield family
