"""A device's root on disk: two slots, the record that says which one serves, and what survives both.

::

    ROOT/record            switch.json (devices.provision.switch), replacing which is the switch, and its locks
    ROOT/slots/a, slots/b  release.json  bundle/  environment/  slot.json
    ROOT/state             keys, tokens, journal, caches: EDGEKIT_STATE_DIR of this device
    ROOT/trust             TUF metadata and its root
    ROOT/profile.toml      the bank's own profile for this device, if there is one
    ROOT/launcher.pyz      starts the server of the active slot (devices.provision.launcher)

Where root installs and a service's user serves, that user owns ``record`` and ``state`` and nothing else, so that it
cannot lay a link or a file where root's next command looks for its own.

The promises:
 1. ``switch.json`` is replaced by one rename of a file that is already on the disk; then the directory is. After a
    power cut it is the old record or the new one, never a part of either.
 2. ``slot.json`` holds size and SHA-256 of every other file of its slot and is written last, the same way. A slot
    without it was never finished. Clearing a slot removes it first.
 3. Whoever changes the record holds its lock, and an installer holds the device's.

What an installer calls, in this order, inside ``installer_lock(root)``::

    name = begin_slot(root, "branch-loans-7", 7)      # the inactive slot, cleared
    ... write Layout(root).release(name), bundle(name), environment(name) ...
    seal_slot(root, name)                             # fsyncs all, writes slot.json
    complete_slot(root, name)                         # verifies, and says so in the record
    activate_slot(root, name, crashes=3)              # the switch; the launcher does the rest

Standard library and ``devices.errors`` only, like the record.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.durable import draft_of, sync_directory, write_durably
from devices.errors import ProvisionError, SlotError, SwitchError
from devices.provision import switch as moves
from devices.provision.bootstrap import sha256_of
from devices.provision.lock import RECORD_FOLDER, record_lock
from devices.provision.switch import SLOT_NAMES, SlotName, Switch, read_record

SWITCH_NAME = "switch.json"
SLOT_FILE = "slot.json"
RELEASE_FILE = "release.json"
_SCHEMA = 1


@dataclass(frozen=True)
class Layout:
    """Where things are under a device's root."""

    root: Path

    @property
    def switch(self) -> Path:
        """The record."""
        return self.root / RECORD_FOLDER / SWITCH_NAME

    @property
    def state(self) -> Path:
        """``EDGEKIT_STATE_DIR`` of this device."""
        return self.root / "state"

    @property
    def trust(self) -> Path:
        """TUF metadata."""
        return self.root / "trust"

    @property
    def profile(self) -> Path:
        """The bank's own profile; need not exist."""
        return self.root / "profile.toml"

    @property
    def launcher(self) -> Path:
        """What systemd or a start script runs."""
        return self.root / "launcher.pyz"

    def slot(self, name: SlotName) -> Path:
        """A slot's directory."""
        return self.root / "slots" / name

    def release(self, name: SlotName) -> Path:
        """The signed description of the slot's release."""
        return self.slot(name) / RELEASE_FILE

    def bundle(self, name: SlotName) -> Path:
        """The slot's bundle."""
        return self.slot(name) / "bundle"

    def environment(self, name: SlotName) -> Path:
        """The slot's Python environment."""
        return self.slot(name) / "environment"

    def python(self, name: SlotName) -> Path:
        """The interpreter that runs the slot."""
        return self.environment(name) / "bin" / "python"


def create_root(root: Path) -> None:
    """Make the directories and an empty record, where they are missing.

    Raises:
        ProvisionError: The root cannot be written.
    """
    layout = Layout(root)
    try:
        for path in (root, layout.switch.parent, root / "slots", *map(layout.slot, SLOT_NAMES), layout.trust):
            path.mkdir(parents=True, exist_ok=True)
        layout.state.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ProvisionError(
            f"{error.filename} cannot be made: {error.strerror}.",
            state="Nothing was installed.",
            remedy="Name a --root on a disk that can be written, as a user that may write there.",
        ) from error
    with record_lock(root):
        if not layout.switch.exists() and not any((layout.slot(name) / SLOT_FILE).exists() for name in SLOT_NAMES):
            _write_switch(root, Switch())


def read_switch(root: Path) -> Switch:
    """The record as it is.

    Raises:
        ProvisionError: ``root`` is not a provisioned device.
        SwitchError: The record is lost or damaged; ``salvage`` makes a new one.
    """
    try:
        return read_record(Layout(root).switch.read_bytes())
    except FileNotFoundError as error:
        if not (root / "slots").is_dir():
            raise ProvisionError(
                f"{root} is not a provisioned device: it has no slots.",
                state="Nothing was changed.",
                remedy="Name the device's --root, or run 'edgekit provision install MEDIUM --root DIR' first.",
            ) from error
        raise SwitchError(
            f"The record of the slots, {SWITCH_NAME}, is missing from {root}.", remedy=moves.RECORD_REMEDY
        ) from error
    except OSError as error:
        raise SwitchError(
            f"The record of the slots in {root} cannot be read: {error.strerror}.",
            remedy="Run the command as the user that owns the device's root.",
        ) from error


@contextmanager
def changing(root: Path) -> Iterator[Callable[[Switch], Switch]]:
    """Change the record under its lock: yields what writes a new one, durably, and returns it.

    ``with changing(root) as write: write(mark_good(read_switch(root)))``
    """
    with record_lock(root):

        def write(switch: Switch) -> Switch:
            _write_switch(root, switch)
            return switch

        yield write


def change(root: Path, move: Callable[[Switch], Switch]) -> Switch:
    """Read the record, apply ``move``, write the result if it is another one; returns it."""
    with changing(root) as write:
        before = read_switch(root)
        after = move(before)
        return after if after == before else write(after)


def begin_slot(root: Path, release: str, sequence: int) -> SlotName:
    """Take the inactive slot for ``release`` and clear it; returns which one it is.

    A slot that is being built for the same release already is kept as it is: an installer that was killed goes on.

    Raises:
        SwitchError: The active slot is in trial and may have to go back to the other one.
    """
    before = read_switch(root)
    name = moves.inactive(before)
    slot = before.slots[name]
    if (slot.state, slot.release, slot.sequence) == ("building", release, sequence):
        return name
    # three steps: a power cut must not leave a record that calls a half cleared slot anything but empty
    change(root, moves.vacate)
    clear_slot(root, name)
    change(root, lambda switch: moves.begin(switch, release, sequence))
    return name


def complete_slot(root: Path, name: SlotName) -> Switch:
    """Verify the slot that was built, and say in the record that it is ready.

    Raises:
        SlotError: It does not verify; the message names the file.
        SwitchError: It was not being built.
    """
    verify_slot(root, name)
    return change(root, moves.complete)


def activate_slot(root: Path, name: SlotName, *, crashes: int = moves.DEFAULT_CRASHES) -> Switch:
    """The switch: from the next start on, or at once where a launcher runs, ``name`` serves, in trial.

    Raises:
        SlotError: It does not verify; the message names the file.
        SwitchError: It is not complete.
    """
    moves.activate(read_switch(root), name)  # an empty slot is not a damaged one
    verify_slot(root, name)
    return change(root, lambda switch: moves.activate(switch, name, crashes=crashes))


def clear_slot(root: Path, name: SlotName) -> None:
    """Empty a slot's directory; from the first moment on it is no longer complete."""
    folder = Layout(root).slot(name)
    (folder / SLOT_FILE).unlink(missing_ok=True)
    sync_directory(folder)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    sync_directory(folder)


def seal_slot(root: Path, name: SlotName) -> None:
    """Put every file of the slot on the disk, then write ``slot.json``, the list of them.

    Raises:
        SlotError: There is something that is neither file, directory nor link.
    """
    folder = Layout(root).slot(name)
    for left in (folder / SLOT_FILE, draft_of(folder / SLOT_FILE)):  # by an installer that was killed here
        left.unlink(missing_ok=True)
    files: dict[str, dict[str, Any]] = {}
    links: dict[str, str] = {}
    for path in _contents(folder):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            links[relative] = str(path.readlink())
        elif path.is_dir():
            sync_directory(path)
        else:
            with path.open("rb") as file:
                files[relative] = {"sha256": sha256_of(path), "size": os.fstat(file.fileno()).st_size}
                os.fsync(file.fileno())
    sync_directory(folder)
    document = {"schema_version": _SCHEMA, "files": files, "links": links}
    write_durably(folder / SLOT_FILE, json.dumps(document, indent=1).encode() + b"\n")


def verify_slot(root: Path, name: SlotName) -> None:
    """Check every file of a slot against its ``slot.json``. Compiled bytecode beyond it does not matter.

    Raises:
        SlotError: A file was changed, is missing, or is one too many; the message names it.
    """
    folder = Layout(root).slot(name)
    files, links = _read_slot_file(folder, name)
    found = set()
    for path in _contents(folder):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            if links.get(relative) != str(path.readlink()):
                raise SlotError(f"Slot {name}: {relative} is a link that does not belong there.")
        elif path.is_dir() or relative == SLOT_FILE:
            continue
        elif relative not in files:
            if path.parent.name == "__pycache__" and path.suffix == ".pyc":
                continue  # written when somebody ran the environment by hand
            raise SlotError(f"Slot {name}: {relative} is not one of its files.")
        else:
            size = path.lstat().st_size
            if size != files[relative]["size"]:
                raise SlotError(
                    f"Slot {name}: {relative} was changed: it has {size} bytes instead of {files[relative]['size']}."
                )
            if sha256_of(path) != files[relative]["sha256"]:
                raise SlotError(f"Slot {name}: {relative} was changed: its SHA-256 is another one.")
        found.add(relative)
    if missing := sorted({*files, *links} - found):
        raise SlotError(f"Slot {name}: {missing[0]} is missing.")


def salvage(root: Path, why: str) -> Switch:
    """Make a new record for a device whose own is lost, from the slots that verify; see ``switch.salvaged``.

    Raises:
        SwitchError: No slot verifies.
    """
    whole: dict[SlotName, tuple[str, int]] = {}
    for name in SLOT_NAMES:
        try:
            verify_slot(root, name)
            release = json.loads(Layout(root).release(name).read_bytes())
            whole[name] = (f"{release['name']}-{release['sequence']}", int(release["sequence"]))
        except (SlotError, OSError, ValueError, KeyError, TypeError):
            continue
    with changing(root) as write:
        return write(moves.salvaged(whole, why))


def _write_switch(root: Path, switch: Switch) -> None:
    try:
        write_durably(Layout(root).switch, switch.to_bytes())
    except OSError as error:
        raise ProvisionError(
            f"The record of the slots in {root} cannot be written: {error.strerror}.",
            remedy="Make room on the disk, or mount it for writing, and run the command again.",
        ) from error


def _read_slot_file(folder: Path, name: SlotName) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        document = json.loads((folder / SLOT_FILE).read_bytes())
        files, links = dict(document["files"]), dict(document["links"])
        if document["schema_version"] != _SCHEMA or not all({"sha256", "size"} <= set(each) for each in files.values()):
            raise ValueError("its form is another one")
    except FileNotFoundError as error:
        raise SlotError(f"Slot {name} was never completed: it has no {SLOT_FILE}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SlotError(f"Slot {name}: {SLOT_FILE} is damaged.") from error
    return files, links


def _contents(folder: Path) -> Iterator[Path]:
    """Everything below ``folder``; links are not followed. Special files are refused."""
    for directory, names, files in os.walk(folder):
        for entry in sorted((*names, *files)):
            path = Path(directory, entry)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise SlotError(f"{path} is neither a file, a directory nor a link.")
            yield path
