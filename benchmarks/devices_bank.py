"""A bank with the demonstration's release, a medium of it, and a bare machine to install it on.

The bare machine is this one's ``/usr`` in a root file system of its own, in a network namespace with nothing but
loopback: a Python of the distribution, a shell, no checkout, no pip, no index, no way out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.runtime_models import demo_bundle
from edge.bundle.keys import key_id, signing_key
from edge.bundle.manifest import MANIFEST_NAME, POLICY_NAME, SIGNATURE_NAME, sha256_hex
from edge.bundle.verify import signature_bytes

CHANNEL = "east/kiosk"
APPLICATION = ROOT / "examples" / "application"
_LOOPBACK = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "(::1|::ffff:127\.[0-9.]+)"')
_REACHING = re.compile(r"\b(bind|connect|sendmmsg|sendmsg|sendto)\(.*sa_family=AF_INET6?,")

# in the bare root: install, serve, score, stop; each time on a line of its own
_SCRIPT = r"""
import json, subprocess, sys, time, urllib.request, uuid
from pathlib import Path

started = time.monotonic()
def say(what, **more): print(json.dumps({"what": what, "s": time.monotonic() - started, **more}), flush=True)
done = subprocess.run(["sh", "/medium/install.sh", "--root", "/opt/edgekit", "--json"], capture_output=True, text=True)
say("installed", status=done.returncode, answer=done.stdout, log=done.stderr[-2000:])
if done.returncode: sys.exit(1)
command = ["python3", "-I", "/opt/edgekit/launcher.pyz", "/opt/edgekit", "--port", "0", "--json"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open("/tmp/serve.log", "w"), text=True)
url = json.loads(server.stdout.readline())["url"]
say("ready")
mark = uuid.uuid4().hex
body = b""
application = Path("/application/application.json")
named = [each["file"] for each in json.loads(application.read_bytes())["documents"]]
for path in (application, *(application.with_name(name) for name in named)):
    part = "application" if path.name == "application.json" else "file"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="{part}"; filename="{path.name}"\r\n\r\n'
    body += head.encode() + path.read_bytes() + b"\r\n"
body += f"--{mark}--\r\n".encode()
head = {"Content-Type": f"multipart/form-data; boundary={mark}"}
receipt = json.load(urllib.request.urlopen(urllib.request.Request(url + "/v1/score", body, head), timeout=60))
say("scored", score=receipt["score"], application=receipt["application_id"])
server.terminate()
say("stopped", status=server.wait())
"""


@dataclass(frozen=True)
class RealBank:
    """Headquarters with the demonstration's bundle.

    Attributes:
        place: Its directory.
        wheels: The wheelhouse for this machine.
    """

    place: Path
    wheels: Path

    @property
    def repo(self) -> Path:
        """The signed repository."""
        return self.place / "repo"

    @classmethod
    def open(cls, place: Path) -> RealBank:
        """Make keys, a repository, and a wheelhouse for this machine (from the index, by the lock)."""
        bank = cls(place, place / "wheels")
        keys = ["--keys", str(place / "keys")]
        edgekit("repo", "init", str(bank.repo), *keys)
        edgekit("repo", "delegate", str(bank.repo), "east", *keys)
        edgekit("provision", "wheels", "--profile", bank.profile, "--out", str(bank.wheels))
        return bank

    @property
    def profile(self) -> str:
        """Of the demonstration's bundle."""
        return str(json.loads((demo_bundle() / MANIFEST_NAME).read_bytes())["profile"])

    def publish(self, bundle: Path) -> None:
        """Sign a release of ``bundle`` and point the channel at it."""
        wheels = ["--wheels", str(self.wheels), "--lock", str(self.wheels / "requirements.lock")]
        channel = ["--region", "east", "--class", "kiosk"]
        keys = ["--keys", str(self.place / "keys")]
        edgekit("repo", "publish", str(self.repo), "--bundle", str(bundle), *wheels, *channel, *keys)

    def pack(self, name: str) -> Path:
        """A medium of what the channel points at."""
        medium = self.place / name
        channel = ["--channel", CHANNEL, "--out", str(medium)]
        edgekit("provision", "pack", "--profile", self.profile, "--repo", str(self.repo), *channel)
        return medium


def other_thresholds(bundle: Path, out: Path) -> Path:
    """The same bundle with another threshold, signed by this machine's key."""
    shutil.copytree(bundle, out)
    policy = (out / POLICY_NAME).read_text(encoding="utf-8")
    changed = policy.replace("high_from = 50", "high_from = 51")
    if changed == policy:
        raise ValueError("the demonstration's policy has no high_from = 50 any more")
    (out / POLICY_NAME).write_text(changed, encoding="utf-8")
    manifest = json.loads((out / MANIFEST_NAME).read_bytes())
    data = changed.encode()
    manifest["files"][POLICY_NAME] |= {"sha256": sha256_hex(data), "size": len(data)}
    text = (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
    key = signing_key()
    (out / MANIFEST_NAME).write_bytes(text)
    (out / SIGNATURE_NAME).write_bytes(signature_bytes(key_id(key.public_key()), key.sign(text)))
    return out


def sample_form() -> list[tuple[str, tuple[str, bytes]]]:
    """The sample application as the parts of a form."""
    application = APPLICATION / "application.json"
    names = [each["file"] for each in json.loads(application.read_bytes())["documents"]]
    files = [("file", (name, (APPLICATION / name).read_bytes())) for name in names]
    return [("application", (application.name, application.read_bytes())), *files]


def missing_for_bare() -> str:
    """Why a bare machine cannot be had here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root, for namespaces"
    for name in ("unshare", "strace", "mount", "ip"):
        if not shutil.which(name):
            return f"{name} is not installed ('./build.sh system')"
    ran = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True, check=False)
    return "" if ran.stdout.startswith("Python 3.11") else "/usr/bin/python3 is not Python 3.11"


def on_bare_machine(medium: Path, scratch: Path, *, trace: Path | None = None) -> dict[str, dict[str, object]]:
    """Install ``medium`` on a bare machine, serve, and score once; returns what was reached when.

    Args:
        medium: From ``pack``.
        scratch: A directory for the root file system; removed afterwards.
        trace: Where to write every call about sockets; slows everything down.

    Raises:
        RuntimeError: A step failed.
    """
    root = scratch / "bare"
    for name in ("usr", "proc", "dev", "tmp", "etc", "opt", "medium", "application"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "tmp" / "script.py").write_text(_SCRIPT, encoding="utf-8")
    binds = {"/usr": "usr", "/dev": "dev", str(medium): "medium", str(APPLICATION): "application"}
    lines = ["set -e", "ip link set lo up"]
    lines += [
        f"mount --{'r' if at in ('dev', 'proc') else ''}bind '{what}' '{root / at}'" for what, at in binds.items()
    ]
    lines.append(f"mount -t proc proc '{root / 'proc'}'")
    lines += [f"mount -o remount,bind,ro '{root / at}'" for at in ("usr", "medium", "application")]
    spy = f"strace -f -qq -e trace=%network -o '{trace}' " if trace else ""
    inside = "env -i PATH=/usr/bin:/bin HOME=/tmp python3 -I /tmp/script.py"
    lines.append(f"exec {spy}chroot '{root}' {inside}")
    try:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", "\n".join(lines)],
            capture_output=True,
            text=True,
            check=False,
        )
        reached = {each["what"]: each for each in map(json.loads, done.stdout.splitlines())}
        if done.returncode or "scored" not in reached:
            raise RuntimeError(f"{reached}\n{done.stderr[-3000:]}")
        return reached
    finally:
        shutil.rmtree(root)


def beyond_loopback(trace: Path) -> list[str]:
    """Calls in a trace that bind to, connect to or send to an address other than loopback's."""
    with trace.open(encoding="utf-8", errors="replace") as lines:
        return [line for line in lines if _REACHING.search(line) and not _LOOPBACK.search(line)]


def edgekit(*arguments: str) -> str:
    """Run the kit; returns what it printed.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", "edge.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout
