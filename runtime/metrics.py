"""Prometheus metrics of one server. Never personal data, never a free text as a label.

Names follow Prometheus' conventions: base units, ``_total`` on counters, ``_info`` on what only its labels say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

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


class Metrics:
    """What a server counts and measures; one registry each, so that two servers in one process do not clash."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("edgekit_requests_total", "Answered requests.", ["route", "status"], registry=registry)
        self._durations = Histogram(
            "edgekit_request_duration_seconds",
            "From a request's arrival at the application to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "edgekit_stage_duration_seconds",
            "Of the stages of a request; 'queue' is waiting for a place.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._rejected = Counter(
            "edgekit_requests_rejected_total",
            "Requests that were given up, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in _REASONS.values():
            self._rejected.labels(reason)
        self._text_batches = Histogram(
            "edgekit_text_batch_size", "Texts in one run of the text model.", buckets=_SIZES, registry=registry
        )
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

    def info(self, name: str, documentation: str, /, **labels: str) -> None:
        """Say something that only its labels carry: ``edgekit_<name>_info`` is 1."""
        self._gauge(f"edgekit_{name}_info", documentation, labels).set(1)

    def watch(self, name: str, documentation: str, read: Callable[[], float], /, **labels: str) -> None:
        """Show what ``read`` returns whenever somebody looks, as ``edgekit_<name>``."""
        self._gauge(f"edgekit_{name}", documentation, labels).set_function(read)

    def exposition(self) -> bytes:
        """The text that ``GET /metrics`` answers."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, documentation: str, labels: dict[str, str]) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, documentation, list(labels), registry=self._registry)
        gauge = self._gauges[name]
        return gauge.labels(**labels) if labels else gauge


class _Models(Collector):
    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self._predictors = predictors

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("edgekit_model_info", "Of each served model.", labels=["model", "backend"])
        for name, predictor in self._predictors.items():
            family.add_metric([name, predictor.backend], 1)
        yield family
