"""``edgekit replay``: a decision of the journal, scored again on the bundle that decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.result import DIRECTORY, Result, backend_option, json_option
from runtime.predictor import Backend

if TYPE_CHECKING:
    from edge.bundle.verify import VerifiedBundle

_SHOWN = 15  # differences on a terminal


@click.command()
@click.argument("decision_id")
@click.option("--bundle", "given", type=DIRECTORY, help="Look for the bundle that decided here first.")
@backend_option
@json_option
def replay(decision_id: str, given: Path | None, backend: Backend | None) -> Result:
    """Score DECISION_ID again and say whether the outcome is identical, or what differs and why.

    The application comes from this device's journal. The bundle is looked for in --bundle, in the state directory,
    where every bundle that decided is kept, and in the slots of a provisioned device. Nothing is journaled. Exit
    status 1 where something differs.
    """
    from edge.bundle.archive import find_bundle
    from edge.journal.state import reading
    from edge.journaled import machine_of
    from edge.replay import replay as replayed_of
    from edge.replay import stored
    from edge.service import open_device

    with reading() as journal:
        decision = stored(journal, decision_id)
    place = find_bundle(decision.receipt.bundle.sha256, [given] if given else [])
    device = open_device(_reopened(place, decision.receipt.bundle.sha256), backend=backend)
    found = replayed_of(
        decision,
        lambda submission, moment: device.scorer.score(submission, moment=moment).receipt,
        machine_of(device),
    )
    document = {
        "decision_id": decision_id,
        "identical": found.identical,
        "same_outcome": found.same_outcome,
        "bundle": {"sha256": decision.receipt.bundle.sha256, "found": str(place)},
        "differences": [{"place": each.place, "then": each.then, "now": each.now} for each in found.differences],
        "causes": list(found.causes),
    }
    differences = sorted(found.differences, key=lambda each: each.is_detail)
    said = ["Identical."]
    if differences:
        outcome = "is the same" if found.same_outcome else "is another one"
        said = [f"The outcome {outcome}; {len(differences)} values differ:"]
        said += [f"  {each}" for each in differences[:_SHOWN]]
    if len(differences) > _SHOWN:
        said.append(f"  and {len(differences) - _SHOWN} more; --json has all of them")
    if found.causes:
        said += ["What was different:", *(f"  {cause}" for cause in found.causes)]
    said.append(f"The bundle was found in {place}.")
    return Result(document, "\n".join(said), exit_code=0 if found.identical else 1)


def _reopened(place: Path, sha256: str) -> VerifiedBundle:
    """The bundle as it decided: on a provisioned device with the bank's own profile, if there is one."""
    from devices.provision.slots import Layout
    from devices.state import state_dir
    from edge.bundle.manifest import PROFILE_NAME
    from edge.bundle.verify import reopen_bundle

    bundle = reopen_bundle(place, sha256)
    layout = Layout(state_dir().parent)
    if not (layout.switch.exists() and layout.profile.exists()):
        return bundle
    return replace(bundle, files={**bundle.files, PROFILE_NAME: layout.profile.read_bytes()})
