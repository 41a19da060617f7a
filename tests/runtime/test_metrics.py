"""Metrics of one server: what is watched is read when somebody looks, and two servers do not share numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from devices.errors import ClientGoneError, DeadlineError, OverloadedError, ServeError
from runtime.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def test_what_is_watched_is_read_anew_each_time() -> None:
    metrics, waiting = Metrics(), [1]
    metrics.watch("requests_waiting", lambda: waiting[0], door="main")
    metrics.watch("requests_waiting", lambda: 9, door="text")
    assert samples(metrics)["edgekit_requests_waiting", (("door", "main"),)] == 1
    waiting[0] = 7
    seen = samples(metrics)
    assert seen["edgekit_requests_waiting", (("door", "main"),)] == 7
    assert seen["edgekit_requests_waiting", (("door", "text"),)] == 9


def test_a_metric_that_is_not_in_the_list_or_has_other_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="no metric edgekit_waiting"):
        Metrics().watch("waiting", lambda: 1)
    with pytest.raises(ValueError, match="label"):
        Metrics().watch("requests_waiting", lambda: 1, room="main")
    with pytest.raises(ValueError, match="label"):
        Metrics().watch("requests_waiting", lambda: 1)


def test_what_only_its_labels_say_is_an_info_that_is_one() -> None:
    metrics = Metrics()
    metrics.info("bundle", name="loans", version="1")
    assert samples(metrics)["edgekit_bundle_info", (("name", "loans"), ("version", "1"))] == 1


def test_a_model_goes_by_the_backend_that_serves_it_now() -> None:
    metrics, model = Metrics(), SimpleNamespace(backend="openvino")
    metrics.models({"ocr-det": model})  # type: ignore[dict-item]
    assert samples(metrics)["edgekit_model_info", (("backend", "openvino"), ("model", "ocr-det"))] == 1
    model.backend = "onnxruntime:tensorrt"
    (labels,) = (labels for name, labels in samples(metrics) if name == "edgekit_model_info")
    assert labels == (("backend", "onnxruntime:tensorrt"), ("model", "ocr-det"))


def test_two_servers_in_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.request("/v1/ocr", 200, 0.03)
    one.stage("det", 0.02)
    one.text_batch(3)
    assert samples(one)["edgekit_requests_total", (("route", "/v1/ocr"), ("status", "200"))] == 1
    assert samples(one)["edgekit_request_duration_seconds_bucket", (("le", "0.05"), ("route", "/v1/ocr"))] == 1
    assert samples(one)["edgekit_request_duration_seconds_bucket", (("le", "0.02"), ("route", "/v1/ocr"))] == 0
    assert samples(one)["edgekit_stage_duration_seconds_sum", (("stage", "det"),)] == 0.02
    assert samples(one)["edgekit_text_batch_size_bucket", (("le", "4.0"),)] == 1
    assert samples(one)["edgekit_text_batch_size_bucket", (("le", "2.0"),)] == 0
    assert not [name for name, labels in samples(other) if ("route", "/v1/ocr") in labels]


def test_reasons_of_refusal_are_there_before_the_first_one() -> None:
    metrics = Metrics()
    name = "edgekit_requests_rejected_total"
    for reason in ("queue_full", "deadline", "client_gone"):
        assert samples(metrics)[name, (("reason", reason),)] == 0
    for error in (OverloadedError, OverloadedError, DeadlineError, ClientGoneError, ServeError):
        metrics.rejected(error("said"))
    seen = samples(metrics)
    assert [seen[name, (("reason", reason),)] for reason in ("queue_full", "deadline", "client_gone", "not_ready")] == [
        2, 1, 1, 1,
    ]  # fmt: skip
