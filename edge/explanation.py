"""What a customer is told about an automated decision, in plain words (PIPL article 24). Pure.

Said are: that a machine scored and no machine refuses, what came out, what it rested on in the order of its weight, and
the right to have a person decide. Figures of models, names and findings about others are not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.ledger import VerdictName
from edge.policy import Language

_REASONS: Mapping[str, tuple[str, str]] = {
    "text_risk": (
        "您填写的贷款用途中有需要进一步核实的内容",
        "what you wrote about the purpose of the loan has to be looked at more closely",
    ),
    "account_behaviour": (
        "您账户的收支情况需要进一步核实",
        "the money that went in and out of your account has to be looked at more closely",
    ),
    "document_problems": (
        "您提交的材料有看不清、已过期或前后不一致之处",
        "the papers that you handed in could not be read in part, are out of date, or do not agree with each other",
    ),
    "repayment_capacity": (
        "每月还款额与您的收入相比偏高",
        "the monthly repayment is high compared with your income",
    ),
    "missing_parts": ("申请材料不齐全", "something that the application needs was not handed in"),
    "offline_authority": (
        "本网点设备当时无法联系总行，该笔申请须由工作人员决定",
        "the branch could not reach headquarters at the time, so a person has to decide",
    ),
}
_OTHER = ("其他需要工作人员核实的情况", "another point that a person has to look at")
_BEGIN = (
    "您的贷款申请（编号 {number}）由计算机程序按照银行制定的规则初步评估。程序不会拒绝任何申请，"
    "不能直接通过的申请一律由工作人员决定。",
    "Your loan application (number {number}) was first assessed by a computer program under rules that the bank set. "
    "The program refuses nobody: what it does not pass is decided by a person.",
)
_RESULTS: Mapping[str, tuple[str, str]] = {
    "pass": ("评估结果：通过。", "It passed."),
    "review": ("评估结果：转由工作人员决定。", "It goes to a person for decision."),
    "approve": ("工作人员的决定：同意。", "A person has decided: approved."),
    "decline": ("工作人员的决定：不同意。", "A person has decided: declined."),
}
_RIGHT = (
    "您有权要求由工作人员重新作出决定，也可以补充或更正材料。请向网点工作人员提出。",
    "You may ask for a person to decide, and you may add to your papers or have them corrected. "
    "Please tell the branch's staff.",
)


def explain(receipt: Mapping[str, Any], verdict: VerdictName | None, language: Language) -> str:
    """The explanation, one sentence or point a line.

    Args:
        receipt: Of the decision, as the journal keeps it; of its keys those are read that every kit has written.
        verdict: Of the persons who decided since; None before that.
        language: To tell it in.
    """
    chosen = 0 if language == "zh" else 1
    lines = [_BEGIN[chosen].format(number=receipt["application_id"]), _RESULTS[receipt["decision"]][chosen]]
    if verdict:
        lines.append(_RESULTS[verdict][chosen])
    points = list(dict.fromkeys(_REASONS.get(reason["code"], _OTHER)[chosen] for reason in receipt["reasons"]))
    if points:
        lines.append(("评估时主要考虑了以下方面：", "These points counted most:")[chosen])
        lines += [
            f"{number}. {point[:1].upper()}{point[1:]}{'。' if chosen == 0 else '.'}"
            for number, point in enumerate(points, 1)
        ]
    return "\n".join([*lines, _RIGHT[chosen]])
