"""pip-audit without a network: what it asks of OSV is answered on loopback, from a file of advisories.

    python requirements/advisories.py ADVISORIES.zip [PIP-AUDIT ARGUMENTS]

The file is OSV's export of the ecosystem PyPI (``all.zip``), or any zip of OSV records, one JSON file each; it comes in
with the bank's other updates. Which versions a record names is decided as the OSV schema says ("Evaluation"):
https://ossf.github.io/osv-schema/#evaluation
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Record = dict[str, Any]
Advisories = Mapping[str, Sequence[Record]]


def read_advisories(file: Path) -> tuple[Advisories, str]:
    """The records by package, and when the newest of them was changed.

    Raises:
        SystemExit: It is no zip of OSV records.
    """
    found: defaultdict[str, list[Record]] = defaultdict(list)
    newest = ""
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if not name.endswith(".json"):
                    continue
                record = json.loads(archive.read(name))
                newest = max(newest, record["modified"])
                for package in {each["package"]["name"] for each in _affected(record)}:
                    found[canonicalize_name(package)].append(record)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"{file} is no zip of OSV records: {error!r}. Nothing was audited. Name OSV's export of PyPI. [SETUP-004]"
        ) from error
    if not found:
        raise SystemExit(
            f"{file} holds no advisory for a Python package. Nothing was audited. Name OSV's export of PyPI. "
            "[SETUP-004]"
        )
    return found, newest[:10]


def matching(advisories: Advisories, package: str, version: str) -> list[Record]:
    """The records that name this version."""
    name = canonicalize_name(package)
    return [
        record
        for record in advisories.get(name, ())
        if any(
            canonicalize_name(each["package"]["name"]) == name and names(each, version) for each in _affected(record)
        )
    ]


def names(affected: Record, version: str) -> bool:
    """Whether an ``affected`` entry of a record names ``version``: in its list, or within one of its ranges."""
    if version in affected.get("versions", ()):
        return True
    events = [each["events"] for each in affected.get("ranges", ()) if each["type"] == "ECOSYSTEM"]
    return any(_within(each, Version(version)) for each in events)


def _within(events: Sequence[Record], version: Version) -> bool:
    inside = False
    for kind, at in sorted(((kind, at) for event in events for kind, at in event.items()), key=_place):
        if kind == "introduced" and version >= _version(at):
            inside = True
        elif (kind == "fixed" and version >= _version(at)) or (kind == "last_affected" and version > _version(at)):
            inside = False
    return inside


def _place(event: tuple[str, str]) -> tuple[Version, bool]:
    return _version(event[1]), event[0] == "introduced"  # what is introduced again where it was fixed counts


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:  # a version from before PEP 440 is older than any that can be installed
        return Version("0")


def _affected(record: Record) -> list[Record]:
    return [each for each in record.get("affected", ()) if each.get("package", {}).get("ecosystem") == "PyPI"]


class _Answers(BaseHTTPRequestHandler):
    """OSV's ``POST /v1/query``."""

    advisories: Advisories

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": matching(self.advisories, query["package"]["name"], query["version"])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main(file: str, *arguments: str) -> int:
    """Run pip-audit over the file; its exit status: 1 where a weakness is known."""
    _Answers.advisories, newest = read_advisories(Path(file))
    sys.stderr.write(f"{file}: advisories for {len(_Answers.advisories)} packages, the newest of {newest}\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/query"
        command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off"]
        command += ["--vulnerability-service", "osv", "--osv-url", url, *arguments]
        status = subprocess.run(command, check=False).returncode
        server.shutdown()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
