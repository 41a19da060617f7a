"""Boxes for trying out a fleet: on one Linux machine, as root, with the real sshd.

Each box is a network namespace on one switch, with process and mount namespaces of its own and the machine's root file
system under an overlay: what a box writes goes to a directory of its own. It sees neither the checkout nor the home
directory. Headquarters is one more namespace on the switch; ``run`` runs a command there. Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

NEEDED = {"sshd": "openssh-server", "ssh-keygen": "openssh-client", "ip": "iproute2", "unshare": "util-linux"}
CHECKOUT = Path(__file__).parent.parent
_SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_SSHD = """\
HostKey /etc/fleet/host_key
AuthorizedKeysFile /etc/fleet/user_key.pub
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
StrictModes no
PidFile none
MaxStartups 100
Subsystem sftp internal-sftp
"""

KIT = "/opt/edgekit"  # where a box has it

# In the box's own mount and process namespaces. $1: its directory; $2: what it shall not see; $3: what it shall start;
# $4: what all boxes have below KIT; $5: the stick; $6: its name
_INIT = """\
set -e
hostname "$6"
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work,redirect_dir=on" "$1/root"
if [ -n "$4" ]; then
    mount -t overlay overlay -o "lowerdir=$4,upperdir=$1/kit,workdir=$1/kitwork,redirect_dir=on" "$1/root@KIT@"
fi
for hidden in $2; do mount -t tmpfs tmpfs "$1/root$hidden"; done
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/tmp"
mount -t tmpfs tmpfs "$1/root/run"
if [ -n "$5" ]; then mkdir -p "$1/root/media/edgekit"; mount --bind -o ro "$5" "$1/root/media/edgekit"; fi
mkdir -p "$1/root/run/sshd"
exec chroot "$1/root" /bin/sh -c "$3"
""".replace("@KIT@", KIT)


def missing() -> str:
    """Why there can be no boxes here; empty if there can."""
    if os.geteuid() != 0:
        return "boxes of network namespaces need root"
    for command, package in NEEDED.items():
        if shutil.which(command, path=_SEARCH) is None:
            return f"{command} is missing: Debian's package {package}"
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        return "this machine lets nobody make namespaces"
    return ""


@dataclass
class Fleet:
    """The switch, the headquarters and the boxes.

    Args:
        folder: For keys and what boxes write; on a file system that can be the upper layer of an overlay.
        names: Of the boxes.
        kit: A directory that every box sees as ``/opt/edgekit``, with its own changes over it: twenty boxes with an
            environment each would fill the disk.
        stick: A directory that every box sees as ``/media/edgekit``.
        program: Shell line that a box runs beside sshd.
    """

    folder: Path
    names: Sequence[str]
    kit: Path | None = None
    stick: Path | None = None
    program: str = "true"
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._prefix = f"ek{os.getpid()}"
        self.key = self.folder / "user_key"

    def __enter__(self) -> Fleet:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("user_key", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name)
        try:
            self._wire(self._prefix, "10.77.0.1", switch=True)
            for name in self.names:
                self._boot(name)
            for name in self.names:
                self._wait_for_ssh(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes.values():
            process.kill()  # its child, the first process of the box, and all others in it end with it
            process.wait()
        for name in [*self._processes, ""]:
            _run("ip", "netns", "del", self._namespace(name), check=False)

    def address(self, name: str) -> str:
        """Where a box answers."""
        number = list(self.names).index(name) + 2
        return f"10.77.{number // 256}.{number % 256}"

    def disk(self, name: str) -> Path:
        """What a box wrote: its layer of the file system."""
        return self.folder / name / "upper"

    def pid(self, name: str) -> int:
        """Of a box's first process, as this machine sees it."""
        parent = self._processes[name].pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        return int(children[0])

    def unplug(self, name: str) -> None:
        """Pull a box's network cable."""
        _run("ip", "netns", "exec", self._namespace(name), "ip", "link", "set", "eth0", "down")

    def plug(self, name: str) -> None:
        """Put it in again."""
        _run("ip", "netns", "exec", self._namespace(name), "ip", "link", "set", "eth0", "up")

    def run(
        self, *command: str | Path, cwd: Path | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` at headquarters."""
        return subprocess.run(
            ["ip", "netns", "exec", self._prefix, *map(str, command)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            check=False,
        )

    def on(self, name: str, script: str) -> str:
        """Run ``script`` on a box, by ssh.

        Raises:
            RuntimeError: It failed.
        """
        options = ["-i", str(self.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        result = self.run("ssh", "-q", *options, f"root@{self.address(name)}", script)
        if result.returncode:
            raise RuntimeError(f"{name}: {result.stdout}{result.stderr}")
        return result.stdout

    def inventory(self, regions: dict[str, Sequence[str]], **variables: object) -> dict[str, object]:
        """An Ansible inventory of the boxes."""
        known = self.folder / "known_hosts"
        host_key = (self.folder / "host_key.pub").read_text(encoding="ascii")
        known.write_text("".join(f"{self.address(name)} {host_key}" for name in self.names), encoding="ascii")
        groups = {
            region: {"hosts": {name: {"ansible_host": self.address(name)} for name in names}}
            for region, names in regions.items()
        }
        common = {
            "ansible_user": "root",
            "ansible_python_interpreter": python(),
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known}",
            # two fleets on one machine have the same addresses: a shared connection would reach the other one's box
            "ansible_control_path_dir": str(self.folder / "cp"),
        }
        return {**groups, "all": {"vars": {**common, **variables}}}

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}" if name else self._prefix

    def _wire(self, namespace: str, address: str, *, switch: bool = False) -> None:
        inside = ("ip", "netns", "exec", namespace, "ip")
        _run("ip", "netns", "add", namespace)
        _run(*inside, "link", "set", "lo", "up")
        if switch:
            _run(*inside, "link", "add", "switch", "type", "bridge")
        else:
            port = f"p{address.replace('.', '')}"
            peer = ("type", "veth", "peer", "name", port, "netns", self._prefix)
            _run(*inside, "link", "add", "eth0", *peer)
            _run("ip", "netns", "exec", self._prefix, "ip", "link", "set", port, "master", "switch", "up")
        card = "switch" if switch else "eth0"
        _run(*inside, "address", "add", f"{address}/16", "dev", card)
        _run(*inside, "link", "set", card, "up")

    def _boot(self, name: str) -> None:
        place, namespace = self.folder / name, self._namespace(name)
        settings = place / "upper" / "etc" / "fleet"
        settings.mkdir(parents=True)
        for part in ("work", "root", "kit", "kitwork"):
            (place / part).mkdir()
        (place / "upper" / KIT[1:]).mkdir(parents=True)
        for key in ("user_key.pub", "host_key"):
            shutil.copy2(self.folder / key, settings / key)
        (settings / "sshd_config").write_text(_SSHD, encoding="ascii")
        self._wire(namespace, self.address(name))
        hidden = f"{CHECKOUT} {Path.home()}"
        start = f"({self.program}) >/var/log/fleet-program.log 2>&1 & exec {_sshd()} -D -f /etc/fleet/sshd_config"
        with (place / "console").open("wb") as console:
            self._processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", namespace, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts"]
                + [
                    "sh",
                    "-c",
                    _INIT,
                    "init",
                    str(place),
                    hidden,
                    start,
                    str(self.kit or ""),
                    str(self.stick or ""),
                    name,
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                process_group=0,
            )

    def _wait_for_ssh(self, name: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._processes[name].poll() is not None:
                break
            with contextlib.suppress(RuntimeError):
                self.on(name, "true")
                return
            time.sleep(0.1)
        console = (self.folder / name / "console").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{name} did not come up: {console}")


def python() -> str:
    """The interpreter of the boxes: the machine's own Python 3.11."""
    return shutil.which("python3.11", path="/usr/bin:/usr/local/bin") or "/usr/bin/python3"


def _sshd() -> str:
    return shutil.which("sshd", path=_SEARCH) or "/usr/sbin/sshd"  # it wants to be called by its whole path


def _run(*command: str | Path, check: bool = True) -> None:
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.stderr.strip()}")
