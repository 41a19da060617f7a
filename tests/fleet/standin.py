"""Stands where a box has the kit's environment: the record and its moves are the kit's, the releases are names only.

Called as ``python -m edge.cli provision COMMAND --root ROOT [SOURCE] --json``. A file in ROOT says what shall go wrong:
``fail`` the trial, ``hang`` the trial for ever, ``refuse`` the update, ``cut`` the network during the update.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, "/var/lib/edgekit/standin")
from devices.provision import switch as moves  # noqa: E402

command, _, root, *rest = sys.argv[sys.argv.index("provision") + 1 :]
ROOT = Path(root)
RECORD = ROOT / "switch.json"


def write(switch: moves.Switch) -> None:
    """As one rename."""
    RECORD.with_suffix(".new").write_bytes(switch.to_bytes())
    RECORD.with_suffix(".new").replace(RECORD)


def trial() -> None:
    """What the launcher does: decide a second later, without the caller."""
    if os.fork():
        return
    os.setsid()
    for stream in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), stream)
    time.sleep(0.5)
    switch = moves.read_record(RECORD.read_bytes())
    if (ROOT / "fail").exists():
        write(moves.roll_back(switch, "The golden outputs of text-risk differ."))
    elif not (ROOT / "hang").exists():
        write(moves.mark_good(switch))
    os._exit(0)


switch = moves.read_record(RECORD.read_bytes()) if command != "install" else moves.Switch()
with (ROOT / "calls").open("a", encoding="utf-8") as log:
    log.write(command + "\n")
if command == "install":
    write(moves.activate(moves.complete(moves.begin(switch, "branch-loans-2", 2)), "a"))
    trial()
elif command == "update":
    if (ROOT / "refuse").exists():
        error = {"code": "PROVISION-012", "problem": "The disk is full.", "state": "Nothing.", "remedy": "Make room."}
        print(json.dumps({"error": error}))  # noqa: T201
        sys.exit(14)
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
    trial()
elif command == "rollback":
    switch = moves.roll_back(switch, "A person asked for it.")
    write(switch)
print(json.dumps(moves.as_document(switch)))  # noqa: T201
