"""``edgekit sync``: bring the journal to headquarters now; a server does the same by itself."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devices.errors import SyncError
from edge.commands.result import DIRECTORY, Result, json_option

if TYPE_CHECKING:
    from edge.offline.sync_policy import SyncPolicy

log = logging.getLogger(__name__)


@click.command()
@click.option("--once", is_flag=True, help="Try once; otherwise until everything is acknowledged, or Ctrl-C.")
@click.option("--bundle", type=DIRECTORY, help="Whose policy names headquarters.  [default: the one that served last]")
@click.option("--root", type=DIRECTORY, help="The journal of this provisioned device.")
@json_option
def sync(once: bool, bundle: Path | None, root: Path | None) -> Result:
    """Send what headquarters has not acknowledged, and fetch what it has to say."""
    from devices.provision.slots import Layout
    from devices.state import VARIABLE
    from edge.journal.state import open_journal
    from edge.offline.sync_loop import Backoff
    from edge.offline.sync_settings import open_session, remembered_policy

    if root is not None:
        os.environ[VARIABLE] = str(Layout(root.absolute()).state)
    policy = _policy_of(bundle) if bundle else remembered_policy()
    journal = open_journal()
    try:
        session, backoff = open_session(journal, policy), Backoff(policy.every_minutes * 60)
        while True:
            try:
                outcome = session.run()
                break
            except SyncError as error:
                if once or error.code != SyncError.code:  # what a person has to mend does not mend itself
                    raise
                pause_s = backoff.failed(error.retry_after_s)
                log.warning("%s The next try is in %.0f s.", error.problem, pause_s)
                time.sleep(pause_s)
        document = {
            "sent": outcome.sent,
            "notes": outcome.notes,
            "refused": [{"seq": seq, "why": why} for seq, why in sorted(outcome.refused.items())],
            "backlog": journal.backlog(),
            "busy": outcome.busy,
        }
    finally:
        journal.close()
    if outcome.busy:
        return Result(document, "Another process of this device, such as the server, is sending at this moment.")
    sentence = f"Headquarters has acknowledged {outcome.sent} entries; {outcome.notes} notes came down."
    if outcome.refused:
        sentence += f" It refused {len(outcome.refused)}, the first one because {next(iter(outcome.refused.values()))}."
    return Result(document, sentence)


def _policy_of(bundle: Path) -> SyncPolicy:
    from edge.bundle.keys import trusted_keys
    from edge.bundle.manifest import POLICY_NAME
    from edge.bundle.parts import bundle_file
    from edge.bundle.verify import verify_bundle
    from edge.policy import load_policy

    return load_policy(bundle_file(verify_bundle(bundle, trusted_keys()), POLICY_NAME)).sync
