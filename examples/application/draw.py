"""Redraw the sample application: its pictures, its statement, ``application.json`` and ``truth.json``.

    python -m examples.application.draw

The committed files were drawn with Debian's fonts-noto-cjk (examples/documents/README.md). The person, the employer and
the bank are invented. The transactions are lived by the same simulation as the training histories, and the statement is
drawn from them: what moved in one piece is a row, runs of small purchases are summed up in one row as some banks do, so
its balances are the account's own.

Papers grow old: two months later no bank takes them. So the demonstration draws them for the week in which it runs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path

import numpy as np

from examples.documents import render
from examples.documents.idcard import IdCard, id_number
from examples.documents.income import IncomeProof
from examples.documents.statement import Row, Statement
from examples.transactions.generate import CHINA, DAY, PLATFORMS, SHOPS, Life, Transaction, simulate

HERE = Path(__file__).parent
SEED = 40
DAYS = 90
END = datetime(2026, 11, 21, 0, 0, tzinfo=CHINA)
NONE = timedelta()
PURPOSE = "本人每月工资一万二，申请五万元，其中两万元先还上信用卡和网贷马上到期的欠款，剩下的用来翻新老家的房子。"

_PURCHASES = frozenset(name for name, _ in SHOPS)
_MOST_IN_ONE_ROW = 8


def card() -> IdCard:
    """The applicant's identity card."""
    return IdCard(
        name="示例甲",
        birth_date=date(1990, 3, 7),
        address="样例省示例市虚构区假想路18号2单元303室",
        id_number=id_number(date(1990, 3, 7), 1),
        issuing_authority="示例市公安局虚构分局",
        valid_from=date(2021, 3, 15),
        valid_until=date(2041, 3, 15),
    )


def weeks_since(today: date) -> timedelta:
    """By how much to move the committed application so that it is of this week.

    Whole weeks: what was a Saturday stays one, and the behaviour model sees the same life.
    """
    return timedelta(weeks=(today - END.date()).days // 7)


def proof(later: timedelta = NONE) -> IncomeProof:
    """The employer's letter."""
    return IncomeProof(
        name=card().name,
        id_number=card().id_number,
        employer="样例科技有限公司",
        position="软件工程师",
        monthly_income=1_200_000,
        issue_date=date(2026, 11, 16) + later,
    )


def transactions(later: timedelta = NONE) -> list[Transaction]:
    """Ninety days of an ordinary life with two platform loans in it."""
    life = Life(
        salary=1_200_000,
        payday=18 * DAY + 10 * 60,
        rent=260_000,
        purchases_per_day=1.35,
        start_balance=842_655,
        employer=proof().employer,
        saves=True,
        instalment=0,
        dries_up=0.02,
        rolls_over=0.3,
        at_night=0.1,
        drains=0.05,
        circles=0.1,
    )
    lived = simulate(life, end=END, days=DAYS, rng=np.random.default_rng(SEED))
    return [each | {"time": (datetime.fromisoformat(str(each["time"])) + later).isoformat()} for each in lived]


def _cents(yuan: str | float) -> int:
    return round(float(yuan) * 100)


def _summary(moved: Transaction) -> str:
    counterparty, inward = str(moved["counterparty"]), float(moved["amount"]) > 0
    if moved["channel"] == "payroll":
        return "工资"
    if counterparty in PLATFORMS:
        return "贷款入账" if inward else "贷款还款"
    if counterparty.startswith("房东"):
        return "房租"
    if "理财" in counterparty:
        return "理财申购"
    return "转账存入" if inward else "转账支出"


def statement_rows(history: list[Transaction]) -> Iterator[Row]:
    """Turn the history into rows, runs of at most eight purchases summed up in one."""
    for purchases, run in groupby(history, key=lambda moved: moved["counterparty"] in _PURCHASES):
        moves = list(run)
        size = _MOST_IN_ONE_ROW if purchases else 1
        for start in range(0, len(moves), size):
            part = moves[start : start + size]
            yield Row(
                day=datetime.fromisoformat(str(part[-1]["time"])).date(),
                summary="快捷支付" if purchases else _summary(part[0]),
                counterparty=f"消费{len(part)}笔合计" if purchases else str(part[0]["counterparty"]),
                amount=sum(_cents(moved["amount"]) for moved in part),
                balance=_cents(part[-1]["balance"]),
            )


def account(history: list[Transaction], later: timedelta = NONE) -> Statement:
    """The statement of the salary account."""
    return Statement(
        bank="样例银行",
        account_name=card().name,
        account_number="9999990000123456789",
        period_from=date(2026, 8, 23) + later,
        period_to=date(2026, 11, 20) + later,
        rows=tuple(statement_rows(history)),
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write(out: Path, later: timedelta = NONE) -> None:
    """Write the sample application, by so much later than the committed one; its card is the committed one.

    The card has no date that grows old before 2041.
    """
    history = transactions(later)
    if out != HERE:
        shutil.copyfile(HERE / "id.jpg", out / "id.jpg")
    letter = render.render_income_proof(proof(later), layout="letter", scale=1.7)
    letter.picture.quantize(48).save(out / "income.png", optimize=True)
    render.write_statement(account(history, later), out / "statement.pdf", layout="signed", rows_per_page=26)

    documents = [
        {"kind": "id_card", "file": "id.jpg"},
        {"kind": "income_proof", "file": "income.png"},
        {"kind": "bank_statement", "file": "statement.pdf"},
    ]
    _write_json(
        out / "application.json",
        {
            "application_id": "A-001",
            "applicant": {"name": card().name, "id_number": card().id_number, "declared_monthly_income": 12000},
            "loan": {"amount": 50000, "term_months": 12, "purpose": PURPOSE},
            "documents": documents,
            "transactions": history,
        },
    )
    fields = (card().fields(), proof(later).fields(), account(history, later).fields())
    truth = [{**named, "fields": expected} for named, expected in zip(documents, fields, strict=True)]
    _write_json(out / "truth.json", {"application_id": "A-001", "documents": truth})


def main() -> None:
    """Write every file of the sample application beside this script."""
    drawn_card = render.render_id_card(card(), layout="standard", sides="both", scale=1.25)
    photograph = drawn_card.photographed(np.random.default_rng(SEED), strength=0.8)
    photograph.picture.save(HERE / "id.jpg", quality=80)
    write(HERE)


if __name__ == "__main__":
    main()
