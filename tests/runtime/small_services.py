"""Real models as small as they get, behind the app's real services: PP-OCRv4, and two networks of a few weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from devices.clock import Clock
from devices.profile import load_profile
from edge.decide import Desk
from edge.journal.state import open_journal
from edge.journaled import journaled
from edge.pipeline import Identity, Scorer
from edge.policy import load_policy
from edge.receipt import Bundle, Model, Offline
from edge.service import Device, submission_from
from runtime.app import SentApplication, Services
from runtime.artifact import BehaviourSettings, TextSettings
from runtime.behaviour import FEATURES, BehaviourModel
from runtime.budget import Budget
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import load_ocr
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor
from runtime.text import TextClassifier
from runtime.tokenizer import ErnieTokenizer

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = ("normal", "debt_rollover", "inducement")
CHARACTERS = "贷款还旧借新卡网ab"


def _load(name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any]) -> Predictor:
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    files = ModelFiles(name, "onnx", model.SerializeToString())
    return load_predictor(files, "onnxruntime", RunOptions(threads=1, parallel=2))


def text_predictor() -> Predictor:
    """The mean of the rows that a text's characters have in a table."""
    table = np.random.default_rng(7).normal(size=(5 + len(CHARACTERS), len(LABELS))).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["types"], ["type"], axes=[1], keepdims=1),
        helper.make_node("Add", ["mean", "type"], ["logits"]),
    ]
    names = ("input_ids", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in names]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(LABELS)])
    return _load("text-risk", nodes, inputs, [logits], [numpy_helper.from_array(table, "table")])


def behaviour_predictor() -> Predictor:
    """The mean of all features as the probability, and the same attention for every transaction."""
    nodes = [
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Sigmoid", ["mean"], ["probability"]),
        helper.make_node("Softmax", ["mask"], ["attention"], axis=1),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", "t", FEATURES])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "t"])
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n"])
    attention = helper.make_tensor_value_info("attention", TensorProto.FLOAT, ["n", "t"])
    return _load("behaviour", nodes, [features, mask], [probability, attention], [])


def small_services(ppocr: Path) -> Services:
    """Everything that the app serves, with the PP-OCR models in ``ppocr`` and a journal in the state directory."""
    models = read_ocr_models(ppocr)
    settings = models.settings.model_copy(update={"det_min_side": 32, "det_limit_side": 320})  # quick, and good enough
    ocr = load_ocr(replace(models, settings=settings), "openvino", RunOptions(threads=2))
    text_model, behaviour_model = text_predictor(), behaviour_predictor()
    tokenizer = ErnieTokenizer(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *CHARACTERS])
    text = TextClassifier(text_model, tokenizer, TextSettings(labels=LABELS, multi_label=True, max_length=64))
    behaviour = BehaviourModel(behaviour_model, BehaviourSettings(mean=(0.0,) * FEATURES, std=(1.0,) * FEATURES))
    predictors = {each.name: each for each in (text_model, behaviour_model)}
    served = [
        Model(name=each.name, sha256=each.sha256, backend=each.backend, precision=each.precision)
        for each in predictors.values()
    ]
    bundle = Bundle(name="small", version="1", sha256="a" * 64)
    identity = Identity("kiosk-1", "test", bundle, served, Offline(since=None, authority="full"))
    policy = load_policy(EXAMPLES / "policy.toml")
    scorer = Scorer(ocr, text, behaviour, policy, identity)

    def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
        return scorer.score(submission_from(sent), budget).receipt.model_dump(mode="json")

    def status() -> dict[str, Any]:
        return {
            "device_id": identity.device_id,
            "profile": identity.profile,
            "bundle": bundle.model_dump(mode="json") | {"signed_by": "0" * 16},
            "models": [model.model_dump(mode="json") for model in served],
        }

    services = Services("1.2.3", predictors, ocr, text, score, status)
    clock = Clock(None)
    desk = Desk(scorer, policy, bundle, open_journal(now=clock.now), clock)
    return journaled(Device(services, scorer, load_profile("cpu-generic"), policy, bundle), desk).services
