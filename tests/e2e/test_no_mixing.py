"""No answer is ever handed to another caller: 32 threads whose inputs encode who asks."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import requests

from tests.e2e.hostile import Watched, drawn, encoded

CALLERS = 32
ROUNDS = 2
APART = 0.05  # between any two callers' answers, where they are numbers
SAME = 0.01  # an INT8 model in a batch of another size answers so much differently at most
WORDS = (
    "买一台收割机", "还清网贷", "装修房子", "周转几天", "给孩子交学费", "炒股", "信用卡还不上了", "收入主要靠朋友",
    "年入千万", "开一家小吃店", "帮别人贷的", "治病", "进一批货", "借新还旧", "短期用一下马上还", "买车跑运输",
)  # fmt: skip

Ask = Callable[[requests.Session, int], bool]


def asked(session: requests.Session, url: str, **body: Any) -> requests.Response:
    """Ask until there is a place."""
    while (answer := session.post(url, timeout=60, **body)).status_code == 503:
        time.sleep(random.uniform(0.1, 0.4))  # noqa: S311
    assert answer.status_code == 200, answer.text
    return answer


def apart(answers: Sequence[np.ndarray]) -> list[int]:
    """The first ``CALLERS`` whose answers differ enough from each other's to tell who asked."""
    chosen: list[int] = []
    for index, answer in enumerate(answers):
        if all(np.abs(answer - answers[other]).max() > APART for other in chosen):
            chosen.append(index)
    assert len(chosen) >= CALLERS, f"only {len(chosen)} of {len(answers)} answers can be told from each other"
    return chosen[:CALLERS]


def labels(result: dict[str, Any]) -> np.ndarray:
    return np.array([value for _, value in sorted(result["labels"].items())])


def texts_of(server: Watched) -> Ask:
    """Each caller has texts of his own, and gets them back with the labels that they have alone."""
    url = f"{server.url}/v1/text-risk"
    draw = random.Random(3)  # noqa: S311
    texts = ["，".join(draw.sample(WORDS, draw.randint(1, 5))) for _ in range(120)]
    alone = [labels(requests.post(url, json={"texts": [text]}, timeout=60).json()["results"][0]) for text in texts]
    mine = apart(alone)

    def ask(session: requests.Session, caller: int) -> bool:
        number = mine[caller]
        (result,) = asked(session, url, json={"texts": [texts[number]]}).json()["results"]
        return result["text"] == texts[number] and bool(np.abs(labels(result) - alone[number]).max() < SAME)

    return ask


def pictures_of(server: Watched) -> Ask:
    """Each caller has pictures with numbers of his own on them, of a size of their own, and reads them there.

    They are numbers that are read right alone: OCR adds a point to one in a hundred of these.
    """
    draw = random.Random(4)  # noqa: S311

    def reads(session: requests.Session, caller: int, number: str) -> bool:
        size = (320 + 16 * (caller % 8), 80)
        picture = drawn(number).resize(size)
        (page,) = asked(session, f"{server.url}/v1/ocr", data=encoded(picture)).json()["pages"]
        return (page["width"], page["height"]) == size and [line["text"] for line in page["lines"]] == [number]

    def readable(session: requests.Session, caller: int) -> str:
        while not reads(session, caller, number := str(100_001 + 7919 * caller + draw.randrange(1000) * 300_007)[:8]):
            pass
        return number

    with requests.Session() as alone:
        mine = [[readable(alone, caller) for _ in range(ROUNDS)] for caller in range(CALLERS)]
    turns = [iter(numbers) for numbers in mine]

    def ask(session: requests.Session, caller: int) -> bool:
        return reads(session, caller, next(turns[caller]))

    return ask


def tensors_of(server: Watched) -> Ask:
    """Each caller sends token ids of his own as raw tensors, with an id, and gets the logits that they have alone."""
    url = f"{server.url}/v2/models/text-risk/infer"
    draw = np.random.default_rng(5)
    rows = [draw.integers(100, 2000, draw.integers(6, 30)).tolist() for _ in range(120)]

    def body(number: int) -> dict[str, Any]:
        shape = [1, len(rows[number])]
        inputs = [
            {"name": "input_ids", "datatype": "INT64", "shape": shape, "data": rows[number]},
            {"name": "token_type_ids", "datatype": "INT64", "shape": shape, "data": [0] * shape[1]},
        ]
        return {"id": f"caller {number}", "inputs": inputs}

    def logits(answer: dict[str, Any]) -> np.ndarray:
        return np.array(answer["outputs"][0]["data"])

    alone = [logits(requests.post(url, json=body(number), timeout=60).json()) for number in range(len(rows))]
    mine = apart(alone)

    def ask(session: requests.Session, caller: int) -> bool:
        number = mine[caller]
        answer = asked(session, url, data=json.dumps(body(number))).json()
        return answer["id"] == f"caller {number}" and bool(np.abs(logits(answer) - alone[number]).max() < SAME)

    return ask


def test_32_callers_at_once_get_their_own_answers(steady: Watched) -> None:
    kinds: dict[str, Ask] = {"text": texts_of(steady), "ocr": pictures_of(steady), "tensors": tensors_of(steady)}
    right: Counter[str] = Counter()
    wrong: list[str] = []
    begin = threading.Barrier(CALLERS)

    def call(caller: int) -> None:
        with requests.Session() as session:
            begin.wait()
            for turn in range(ROUNDS * len(kinds)):
                kind = list(kinds)[(caller + turn) % len(kinds)]
                try:
                    if kinds[kind](session, caller):
                        right[kind] += 1
                        continue
                    wrong.append(f"caller {caller}, {kind}: another answer than alone")
                except (AssertionError, KeyError, requests.RequestException) as error:
                    wrong.append(f"caller {caller}, {kind}: {error!r}")

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert right == dict.fromkeys(kinds, CALLERS * ROUNDS)
    steady.unharmed()
