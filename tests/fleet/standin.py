"""Stands where a box has the kit's environment: the record and its moves are the kit's, the releases are names only.

Called as ``python -m edge.cli provision COMMAND --root ROOT [SOURCE] --json``. A file in ROOT says what shall go wrong:
``fail`` the trial, ``hang`` the trial for ever, ``refuse`` the update, ``cut`` the network during the update.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, "/opt/edgekit/standin")
from devices.provision import switch as moves  # noqa: E402

command, _, root, *rest = sys.argv[sys.argv.index("provision") + 1 :]
ROOT = Path(root)
RECORD = ROOT / "record" / "switch.json"


def write(switch: moves.Switch) -> None:
    """As one rename."""
    RECORD.with_suffix(".new").write_bytes(switch.to_bytes())
    RECORD.with_suffix(".new").replace(RECORD)


def trial(switch: moves.Switch) -> moves.Switch:
    """What the launcher would decide, and the command would wait for."""
    problem = ""
    if (ROOT / "fail").exists():
        problem = "The golden outputs of text-risk differ."
        switch = moves.roll_back(switch, problem)
    elif (ROOT / "hang").exists():
        problem = "The release is still in trial after 900 s."
    else:
        switch = moves.mark_good(switch)
    write(switch)
    if problem:
        fail("PROVISION-005", problem)
    return switch


def fail(code: str, problem: str) -> NoReturn:
    """As the kit does."""
    error = {"code": code, "problem": problem, "state": "What served serves on.", "remedy": "Tell headquarters."}
    print(json.dumps({"error": error}))  # noqa: T201
    sys.exit(14)


switch = moves.read_record(RECORD.read_bytes()) if command != "install" else moves.Switch()
with (ROOT / "calls").open("a", encoding="utf-8") as log:
    log.write(command + "\n")
if command == "install":
    switch = moves.activate(moves.complete(moves.begin(switch, "branch-loans-2", 2)), "a")
    write(switch)
    switch = trial(switch)
elif command == "update":
    if (ROOT / "refuse").exists():
        fail("PROVISION-013", "The disk is full.")
    if (ROOT / "cut").exists():
        subprocess.run(["/usr/sbin/ip", "link", "set", "eth0", "down"], check=True)
        sys.exit(1)
    release = (Path(rest[0]) / "release").read_text(encoding="utf-8").strip()
    slot = moves.inactive(switch)
    shutil.copytree(ROOT / "slots" / str(switch.active), ROOT / "slots" / slot, dirs_exist_ok=True)
    switch = moves.activate(
        moves.complete(moves.begin(moves.vacate(switch), release, int(release.rpartition("-")[2]))), slot
    )
    write(switch)
    switch = trial(switch)
elif command == "inventory":
    print((ROOT / "inventory.json").read_text(encoding="utf-8"))  # noqa: T201
    sys.exit()
elif command == "rollback":
    switch = moves.roll_back(switch, "A person asked for it.")
    write(switch)
print(json.dumps(moves.as_document(switch)))  # noqa: T201
