"""What can be said of the playbooks without boxes: they parse, and the page tells all that they take and say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]
PLAYBOOKS = CHECKOUT / "fleet" / "ansible"
ROLE = PLAYBOOKS / "roles" / "edgekit"
PAGE = (CHECKOUT / "docs" / "fleet.md").read_text(encoding="utf-8")


def test_all_playbooks_parse_and_are_on_the_page(tmp_path: Path) -> None:
    playbooks = [path.name for path in sorted(PLAYBOOKS.glob("*.yml")) if "inventory" not in path.name]
    result = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--syntax-check", "-i", "inventory.example.yml"]
        + ["-e", "boxes=north", *playbooks],
        cwd=PLAYBOOKS,
        env={"ANSIBLE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert [name for name in playbooks if f"| `{name}` |" not in PAGE] == []


def test_every_variable_of_the_role_is_on_the_page_and_none_that_is_gone() -> None:
    (specification,) = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))[
        "argument_specs"
    ].values()
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    assert set(specification["options"]) == {"edgekit_release", *defaults}
    named = set(re.findall(r"^\| `(edgekit_\w+)` \|", PAGE, re.MULTILINE))
    assert named == set(specification["options"])


def test_every_verdict_is_on_the_page() -> None:
    head = (ROLE / "tasks" / "main.yml").read_text(encoding="utf-8").partition("\n- name")[0]
    verdicts = set(re.findall(r"^#   (\w+(?: \w+)?)  ", head, re.MULTILINE))
    assert verdicts == {"unreachable", "current", "updated", "rolled back", "refused", "down", "started"}
    on_page = set(re.findall(r"^\| `([a-z ]+)` \| ", PAGE.partition("## The verdict")[2], re.MULTILINE))
    assert on_page == verdicts - {"started"} | {"lost"}
