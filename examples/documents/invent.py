"""People, employers and accounts that do not exist, drawn by chance for calibration and evaluation pictures."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from examples.documents.idcard import IdCard, id_number
from examples.documents.income import IncomeProof
from examples.documents.statement import Row, Statement

EMPLOYERS = (
    "样例科技有限公司",
    "示例商贸有限公司",
    "虚构机械制造厂",
    "假想餐饮管理有限公司",
    "样例物流服务部",
    "示例市虚构中学",
)
POSITIONS = ("软件工程师", "会计", "仓库主管", "门店经理", "质检员", "数学教师", "销售代表", "货车司机")
BANKS = ("样例银行", "示例商业银行", "虚构农村信用社", "假想村镇银行")
ETHNICITIES = ("汉", "回", "满", "壮", "苗", "蒙古")

_STEMS = "甲乙丙丁戊己庚辛壬癸"
_PLACES = ("样例省示例市虚构区", "示例省假想市样例县", "虚构省样例市示例区")
_ROADS = ("假想路", "虚构大街", "样例巷", "示例新村", "无名胡同")
_SPENDING = (
    ("消费", "示例超市"),
    ("消费", "样例生鲜"),
    ("网上支付", "示例商城"),
    ("转账支出", "示例丙"),
    ("转账支出", "样例戊"),
    ("水电煤", "虚构水务"),
    ("话费", "样例通信"),
    ("取现", "自助设备"),
    ("房租", "房东示例庚"),
    ("贷款还款", "虚构速贷"),
    ("信用卡还款", "信用卡中心"),
)


def pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """Return one of ``choices``."""
    return choices[int(rng.integers(len(choices)))]


def _day(first: date, last: date, rng: np.random.Generator) -> date:
    return first + timedelta(days=int(rng.integers((last - first).days + 1)))


def name(rng: np.random.Generator) -> str:
    """Return a name that says it is one only for show, such as 示例甲."""
    return pick(("示例", "样例", "虚构"), rng) + _STEMS[int(rng.integers(len(_STEMS)))]


def address(rng: np.random.Generator) -> str:
    """Return an address in a province that does not exist."""
    house, unit, room = (int(rng.integers(1, high)) for high in (200, 7, 30))
    return f"{pick(_PLACES, rng)}{pick(_ROADS, rng)}{house}号{unit}单元{room}0{unit}室"


def account_number(rng: np.random.Generator) -> str:
    """Return 19 digits beginning with 999999, which no card scheme has given out."""
    return "999999" + "".join(str(d) for d in rng.integers(0, 10, 13))


def card(rng: np.random.Generator) -> IdCard:
    """Return an identity card."""
    birth = _day(date(1960, 1, 1), date(2004, 12, 31), rng)
    place = address(rng)
    start = _day(date(2012, 1, 1), date(2025, 12, 31), rng)
    return IdCard(
        name=name(rng),
        birth_date=birth,
        address=place,
        id_number=id_number(birth, int(rng.integers(1, 1000))),
        issuing_authority=place[3:6] + "公安局" + place[6:8] + "分局",
        valid_from=start.replace(day=min(start.day, 28)),
        valid_until=start.replace(year=start.year + 20, day=min(start.day, 28)),
        ethnicity=pick(ETHNICITIES, rng),
    )


def proof(rng: np.random.Generator) -> IncomeProof:
    """Return an income proof."""
    person = card(rng)
    return IncomeProof(
        name=person.name,
        id_number=person.id_number,
        employer=pick(EMPLOYERS, rng),
        position=pick(POSITIONS, rng),
        monthly_income=int(rng.integers(35, 320)) * 10_000 + int(rng.integers(0, 2)) * int(rng.integers(0, 10_000)),
        issue_date=_day(date(2026, 1, 1), date(2026, 11, 20), rng),
    )


def statement(rng: np.random.Generator, *, rows: int) -> Statement:
    """Return a statement with ``rows`` movements whose balances add up."""
    day = _day(date(2026, 1, 1), date(2026, 8, 31), rng)
    begin, employer, salary = day, pick(EMPLOYERS, rng), int(rng.integers(4_000, 20_000)) * 100
    balance = int(rng.integers(50_000, 3_000_000))
    moves = []
    for number in range(rows):
        day += timedelta(days=int(rng.integers(0, 5)))
        summary, counterparty = _SPENDING[int(rng.integers(len(_SPENDING)))]
        amount = -min(balance // 2, int(rng.lognormal(9.5, 1.1)) + 100)
        if number % 9 == 3:
            summary, counterparty, amount = "工资", employer, salary + int(rng.integers(-20_000, 20_000))
        balance += amount
        moves.append(Row(day, summary, counterparty, amount, balance))
    return Statement(
        bank=pick(BANKS, rng),
        account_name=name(rng),
        account_number=account_number(rng),
        period_from=begin,
        period_to=day,
        rows=tuple(moves),
    )
