"""docs/profiles.md says what the schema says: key, kind of value, default, and meaning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from devices.cpu import ISA_NAMES
from devices.profile import Compress, Match, Profile, Serve, known_profiles, parse_profile
from docs.generate import rows

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"


@pytest.mark.parametrize("schema", [Profile, Match, Serve, Compress])
def test_the_page_lists_every_key_with_its_value_default_and_meaning(schema: type[BaseModel]) -> None:
    table = "\n".join(rows(schema))
    assert table in PAGE.read_text(encoding="utf-8"), f"docs/profiles.md should hold:\n{table}"


def test_the_page_lists_every_profile_with_its_summary_and_every_instruction_set() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for profile in known_profiles():
        line = f"| `{profile.name}` | {profile.summary} |"
        assert line in text, f"docs/profiles.md should hold: {line}"
    assert ", ".join(f"`{name}`" for name in ISA_NAMES) in text.replace("\n", " ")


def test_the_example_of_the_page_is_a_profile() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert parse_profile(example.encode(), "docs/profiles.md").name == "counter-pc"
