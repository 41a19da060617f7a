"""``edgekit journal``: look at the journal, verify it, hand it to an auditor, erase a person, salvage what is left."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from devices.errors import DecisionNotFoundError, JournalDamagedError
from edge.commands.result import NEW_PATH, Result, json_option
from edge.journal import state
from edge.journal.export import EXPORT_NAME, VERIFIER_NAME, export
from edge.journal.reader import JournalReader
from edge.journal.retention import RESERVE_BYTES
from edge.journal.salvage import salvage
from edge.journal.verify import Verification, verify_journal

_MB = 1024 * 1024
_SHOWN = 20


@click.group()
def journal() -> None:
    """Look at the journal of decisions, verify it, and hand it to an auditor."""


@journal.command()
@json_option
def stats() -> Result:
    """Say what is in the journal, how much headquarters lacks, and what room it takes."""
    with state.reading() as reader:
        found, head, keys = reader.stats(), reader.head(), reader.keys
        free = shutil.disk_usage(reader.folder).free
    document = {
        "journal": str(state.journal_folder()),
        "head": {"seq": head.seq, "hash": head.hash, "code": head.code},
        "public_key": keys.public_bytes.hex(),
        "key_protection": keys.protection,
        **vars(found),
        "disk_free_bytes": free,
        "first": found.first.isoformat(),
        "last": found.last.isoformat(),
    }
    table = Table.grid(padding=(0, 2))
    table.add_row("Journal", document["journal"])
    table.add_row("Entries", f"{head.seq}: " + ", ".join(f"{count} {kind}" for kind, count in found.kinds.items()))
    table.add_row("From, to", f"{found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC")
    table.add_row("Head", head.code)
    table.add_row("Not at headquarters yet", str(found.backlog))
    table.add_row("Records", f"readable of {found.readable} entries, erased or retired of {found.erased}")
    table.add_row("Papers", str(found.pictures))
    table.add_row("Size", f"{found.size_bytes / _MB:.1f} MB")
    reserve_mb = RESERVE_BYTES // _MB
    table.add_row("Disk", f"{free // _MB} MB free; a decision must leave {reserve_mb} MB")
    table.add_row("Device key", f"{document['public_key']} ({keys.protection})")
    return Result(document, table)


@journal.command()
@click.option("--code", "codes", multiple=True, help="A code on a receipt that has to be in the journal; repeatable.")
@json_option
def verify(codes: tuple[str, ...]) -> Result:
    """Check every entry and record, and name the first bad one."""
    found = verify_journal(state.journal_folder(), state.existing_keys())
    with state.reading() as reader:
        unknown = [code for code in codes if not _knows(reader, code)]
    head = found.head and {"seq": found.head.seq, "hash": found.head.hash, "code": found.head.code}
    findings = [{"entry": each.seq or None, "what": each.what} for each in found.findings]
    first = found.first and {"entry": found.first.seq or None, "what": found.first.what}
    document = {
        "good": found.first is None,
        "entries": found.entries,
        "head": head,
        "first_bad": first,
        "findings": findings,
        "notes": list(found.notes),
        "unknown_codes": unknown,
    }
    good = found.first is None and not unknown
    return Result(document, _told(found, unknown), 0 if good else JournalDamagedError.exit_code)


@journal.command("export")
@click.option("--out", type=NEW_PATH, required=True, help="Directory for the two files.")
@json_option
def export_journal(out: Path) -> Result:
    """Write all entries as JSON Lines, with a verifier that needs nothing of the kit; no personal data."""
    with state.reading() as reader:
        head, public = export(reader, out), reader.keys.public_bytes.hex()
    document = {"export": str(out / EXPORT_NAME), "verifier": str(out / VERIFIER_NAME), "public_key": public}
    command = f"python3 {VERIFIER_NAME} {EXPORT_NAME} --public-key {public}"
    return Result(
        {**document, "head": {"seq": head.seq, "hash": head.hash, "code": head.code}},
        f"{head.seq} entries up to {head.code} are in {out / EXPORT_NAME}.\nTo verify them there: {command}",
    )


@journal.command()
@click.argument("decision_id")
@click.option("--why", required=True, help="Why, in a few words and without a name; it stays in the journal.")
@json_option
def erase(decision_id: str, why: str) -> Result:
    """Destroy the personal data of DECISION_ID for good; what was decided stays, and the journal still verifies."""
    state.existing_keys()
    opened = state.open_journal()
    try:
        entry = opened.erase(decision_id, why=why)
    finally:
        opened.close()
    erased = entry.body["entries"]
    return Result(
        {"decision_id": decision_id, "entries": erased, "erasure": entry.code},
        f"The personal data of {len(erased)} entries were destroyed. Entry {entry.code} says so.",
    )


@journal.command("salvage")
@json_option
def salvage_journal() -> Result:
    """Make a new journal of what verifies in a damaged one, and keep the damaged one aside."""
    keys = state.existing_keys()
    done = salvage(state.journal_folder(), keys, now=state.device_now)
    document = {
        "kept": done.kept,
        "lost": [list(each) for each in done.lost],
        "lost_records": [list(each) for each in done.lost_records],
        "damaged": str(done.damaged) if done.damaged else None,
        "head": {"seq": done.head.seq, "hash": done.head.hash, "code": done.head.code},
    }
    lost = ", ".join(str(start) if start == end else f"{start} to {end}" for start, end in done.lost) or "none"
    records = len({seq for seq, _ in done.lost_records})
    lines = [
        f"{done.kept} entries verify and are in the new journal. Lost entries: {lost}. Entries that lost records: "
        f"{records}.",
        f"Entry {done.head.code} says so; headquarters may still hold what is lost.",
    ]
    if done.damaged:
        lines.append(
            f"The damaged journal is {done.damaged}. Erasures do not reach it: destroy it once it has been looked at."
        )
    return Result(document, "\n".join(lines))


def _knows(reader: JournalReader, code: str) -> bool:
    number = code.partition("-")[0]
    try:
        return number.isdecimal() and reader.entry(int(number)).code == code
    except DecisionNotFoundError:
        return False


def _told(found: Verification, unknown: list[str]) -> Group:
    lines = [Text(note, style="yellow") for note in found.notes]
    lines += [
        Text(f"No entry has the code {code}. If a receipt of this device shows it, report it.", "bold red")
        for code in unknown
    ]
    if found.first is None:
        code = found.head.code if found.head else "none"
        lines.append(Text(f"The journal is good: {found.entries} entries, the last is {code}."))
    else:
        lines.append(Text(f"The journal is not good. First: {found.first}", style="bold red"))
        lines += [Text(f"  {each}") for each in found.findings[:_SHOWN] if each != found.first]
        if len(found.findings) > _SHOWN:
            lines.append(Text(f"  ... and {len(found.findings) - _SHOWN} more; --json shows all."))
        lines.append(Text(JournalDamagedError.default_remedy))
    return Group(*lines)
