"""Invented papers that are no application document, but lie about in a branch: forms, notices, slips, signs.

They widen what a detector is calibrated on: white on dark, dark on coloured, dense print, stacked and turned text.
"""

from __future__ import annotations

import numpy as np

from examples.documents import invent
from examples.documents.sheet import BLACK, GREY, RED, Colour, Sheet

WHITE: Colour = (252, 252, 250)

SENTENCES = (
    "请按顺序取号，在等候区就座。",
    "办理贷款业务请携带本人身份证原件。",
    "本网点周六照常营业，周日休息。",
    "自助设备单笔取款上限为五千元。",
    "请勿向陌生人透露验证码。",
    "利率以签约当日公布的为准。",
    "收入证明须加盖单位公章。",
    "还款日为每月二十日，遇节假日不顺延。",
    "材料齐全后三个工作日内答复。",
    "如有疑问请咨询大堂经理。",
    "借款人应如实填写贷款用途。",
    "老年客户可到绿色通道办理。",
    "提前还款须提前七天申请。",
    "银行不会以任何理由收取中介费。",
)
CLAUSES = (
    "第一条 借款人应当按照约定的用途使用借款。",
    "第二条 借款期限自放款之日起计算，共12个月。",
    "第三条 借款年利率为6.85%，按月付息。",
    "第四条 借款人逾期的，自逾期之日起计收罚息。",
    "第五条 双方发生争议的，应当先行协商解决。",
    "第六条 本合同一式两份，双方各执一份。",
    "第七条 借款人变更住址的，应在10日内告知。",
    "第八条 未尽事宜由双方另行约定。",
)


def _some(choices: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    return [choices[i] for i in rng.permutation(len(choices))[:count]]


def application_form(rng: np.random.Generator) -> Sheet:
    """A filled-in loan application form with two columns of label and value."""
    person = invent.card(rng)
    amount = int(rng.integers(1, 30)) * 10_000
    sheet = Sheet(640, 420)
    sheet.text(320, 46, "个人贷款申请表", 24, font="bold", anchor="m")
    rows = (
        ("申请人", person.name, "性别", person.sex),
        ("证件号码", person.id_number, "民族", person.ethnicity),
        ("申请金额", f"{amount:,}元", "期限", f"{int(rng.integers(1, 6)) * 6}个月"),
        ("工作单位", invent.pick(invent.EMPLOYERS, rng), "月收入", f"{int(rng.integers(4, 30)) * 500}元"),
        ("贷款用途", invent.pick(("房屋装修", "购买家电", "进货周转", "子女学费", "购车"), rng), "方式", "信用"),
    )
    xs, step = (30, 120, 400, 480, 610), 44
    for number, cells in enumerate(rows):
        y = 74 + step * number
        for column, cell in enumerate(cells):
            fill = (230, 238, 232) if column % 2 == 0 else None
            sheet.rectangle(xs[column], y, xs[column + 1], y + step, fill=fill, outline=GREY)
            sheet.text(xs[column] + 10, y + 28, cell, 15)
    sheet.text(36, 330, _some(SENTENCES, 1, rng)[0], 14)
    sheet.text(36, 372, f"申请人签字：{person.name}", 15)
    sheet.text(380, 372, "日期：2026-11-18", 15)
    sheet.text(604, 408, "样张", 11, colour=GREY, anchor="r")
    return sheet


def notice(rng: np.random.Generator, *, paper: Colour, ink: Colour, lines: int) -> Sheet:
    """A short notice on coloured paper."""
    sheet = Sheet(520, 150 + 44 * lines, paper=paper)
    title = invent.pick(("温馨提示", "营业公告", "安全提示", "办事须知"), rng)
    sheet.text(260, 64, title, 34, font="bold", colour=ink, anchor="m", tracking=6)
    for number, sentence in enumerate(_some(SENTENCES, lines, rng), start=1):
        sheet.text(40, 76 + 44 * number, f"{number}.{sentence}", 20, colour=ink)
    sheet.text(484, 116 + 44 * lines, invent.pick(invent.BANKS, rng) + "虚构支行", 18, colour=ink, anchor="r")
    return sheet


def slip(rng: np.random.Generator) -> Sheet:
    """The narrow slip of a cash machine."""
    sheet = Sheet(300, 430, paper=(250, 250, 246))
    sheet.text(150, 42, invent.pick(invent.BANKS, rng), 20, font="bold", anchor="m")
    sheet.text(150, 70, "自助设备客户凭条", 14, anchor="m")
    pairs = (
        ("交易日期", f"2026/{int(rng.integers(1, 12)):02d}/{int(rng.integers(1, 29)):02d}"),
        ("交易时间", f"{int(rng.integers(8, 20)):02d}:{int(rng.integers(60)):02d}:{int(rng.integers(60)):02d}"),
        ("终端编号", f"T{int(rng.integers(10_000_000)):08d}"),
        ("卡号", "999999******" + f"{int(rng.integers(10_000)):04d}"),
        ("交易类型", invent.pick(("取款", "存款", "转账"), rng)),
        ("交易金额", f"{int(rng.integers(1, 50)) * 100:,}.00"),
        ("可用余额", f"{int(rng.integers(100, 9_000_000)) / 100:,.2f}"),
    )
    for number, (label, value) in enumerate(pairs):
        y = 116 + 36 * number
        sheet.text(24, y, label, 15)
        sheet.text(276, y, value, 15, anchor="r")
    sheet.text(150, 386, "请妥善保管本凭条", 14, anchor="m")
    sheet.text(150, 412, "样张：内容纯属虚构", 11, colour=GREY, anchor="m")
    return sheet


def signboard(rng: np.random.Generator, *, paper: Colour, ink: Colour) -> Sheet:
    """A sign with two stacked columns beside some lines of the usual kind."""
    sheet = Sheet(460, 420, paper=paper)
    columns = _some(("诚信为本", "服务至上", "安全第一", "便民利民", "规范经营"), 2, rng)
    for x, column in zip((70, 396), columns, strict=True):
        sheet.text(x, 110, column, 44, font="bold", colour=ink, stacked=True, tracking=16)
    bank = invent.pick(invent.BANKS, rng)
    sheet.text(233, 130, bank, 27, font="bold", colour=ink, anchor="m")
    sheet.text(233, 190, "贷款业务窗口", 26, colour=ink, anchor="m")
    sheet.text(233, 250, f"{int(rng.integers(1, 20))}号", 36, font="bold", colour=ink, anchor="m")
    sheet.text(233, 310, "09:00-17:00", 24, colour=ink, anchor="m")
    sheet.text(233, 376, "样张", 16, colour=ink, anchor="m")
    return sheet


def prose(rng: np.random.Generator, *, clauses: int) -> Sheet:
    """A page of dense small print."""
    sheet = Sheet(480, 110 + 30 * clauses, paper=(250, 249, 244))
    sheet.text(240, 48, "借款合同（样张）", 20, font="bold", anchor="m")
    first = int(rng.integers(0, len(CLAUSES) - clauses + 1))
    for number, clause in enumerate(CLAUSES[first : first + clauses]):
        heading, text = clause.split(" ")
        sheet.text(34, 92 + 30 * number, heading, 14, font="serif")
        sheet.text(34 + 14 * 3 + 8, 92 + 30 * number, text, 14, font="serif", joins=True)
    return sheet


def ticket(rng: np.random.Generator) -> Sheet:
    """A queue ticket with one big number."""
    sheet = Sheet(360, 300)
    sheet.text(180, 46, invent.pick(invent.BANKS, rng), 22, anchor="m")
    sheet.text(180, 136, f"{'ABC'[int(rng.integers(3))]}{int(rng.integers(1, 400)):03d}", 68, font="bold", anchor="m")
    sheet.text(180, 186, f"您前面还有{int(rng.integers(1, 30))}位", 19, anchor="m")
    sheet.text(180, 226, f"2026-11-{int(rng.integers(1, 21)):02d}", 17, anchor="m")
    sheet.text(180, 270, "过号作废，请重新取号", 15, colour=GREY, anchor="m")
    return sheet


def turned(rng: np.random.Generator, *, degrees: float) -> Sheet:
    """A leaflet with a tilted headline and a margin note that runs down the side."""
    sheet = Sheet(520, 460, paper=(255, 246, 222))
    sheet.text(70, 96 if degrees >= 0 else 150, "小额贷款随借随还", 34, font="bold", colour=RED, turn=degrees)
    for number, sentence in enumerate(_some(SENTENCES, 4, rng)):
        sheet.text(60, 236 + 42 * number, sentence, 19, colour=BLACK)
    sheet.text(476, 60, "虚构材料仅供测试", 20, colour=(60, 84, 120), turn=90, tracking=1)
    phone = "".join(str(d) for d in rng.integers(0, 10, 8))
    sheet.text(60, 424, f"电话：000-{phone}", 19, colour=BLACK)
    return sheet


def badge(rng: np.random.Generator) -> Sheet:
    """A visiting card."""
    sheet = Sheet(500, 290, paper=(236, 240, 246))
    sheet.rectangle(0, 0, 500, 66, fill=(32, 58, 92))
    sheet.text(28, 44, invent.pick(invent.EMPLOYERS, rng), 24, font="bold", colour=WHITE)
    sheet.text(28, 124, invent.name(rng), 30, font="bold")
    sheet.text(170, 124, invent.pick(invent.POSITIONS, rng), 19, colour=GREY)
    digits = "".join(str(d) for d in rng.integers(0, 10, 8))
    sheet.text(28, 180, f"Tel:000-{digits}", 18)
    sheet.text(28, 216, f"mail{int(rng.integers(100))}@example.com", 18)
    sheet.text(28, 254, invent.address(rng), 17)
    return sheet
