from __future__ import annotations

from pathlib import Path

from devices.doctor.check import NAMES

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_clerks_find_every_code_with_its_name() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for code, name in NAMES.items():
        assert f"| {code} | {name} |" in text
    assert text.count("| DOCTOR-") == len(NAMES)
