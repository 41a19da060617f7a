"""The systemd unit under which a device's launcher runs: what it may touch, and how much it may take.

The server needs the processor, its own directory, and loopback. Everything else is closed; where a policy names a
headquarters, the bank's own drop-in adds ``IPAddressAllow=`` with its network (docs/sync.md). What stays open, and why:

- Memory that is written and then executed: OpenVINO and oneDNN compile their kernels at run time.
- The address families of loopback and of systemd's notifications.
- On a profile with a GPU, that GPU's device nodes.
- Calls that set limits and priorities: the process that draws PDFs bounds itself, libraries place their threads.

A release in trial is loaded beside the one that serves, so the unit's memory limit has room for two workers at the
profile's ceiling; what one worker takes is watched by the kit itself.

Sources: systemd.exec(5), systemd.resource-control(5), systemd.service(5) of systemd 252 (Debian 12); checked in the
tests with ``systemd-analyze verify`` and ``systemd-analyze security``.
"""

from __future__ import annotations

import re
from pathlib import Path

from devices.errors import ProvisionError
from devices.profile import GpuKind, Profile

UNIT_NAME = "edgekit.service"
USER = "edgekit"
_SMALL_MB = 256  # the launcher, two supervisors, and what the kernel counts for them
_TASKS = 512
_WATCHDOG_S = 60
_PLAIN = re.compile(r"/[A-Za-z0-9_./-]*")

# nodes of the driver, each as DeviceAllow= takes it; a pattern names the group of /proc/devices
_GPU_NODES: dict[GpuKind, tuple[str, ...]] = {
    "none": (),
    "intel": ("char-drm",),
    "nvidia": ("char-nvidia", "char-nvidia-frontend", "char-nvidia-uvm", "char-nvidia-caps"),
    "jetson": ("char-nvidia", "char-nvhost", "char-nvmap", "char-drm", "/dev/nvmap", "/dev/nvhost-ctrl"),
}

# of Debian and of Jetson Linux, who may open them; NVIDIA's own are open to all
_GPU_GROUPS: dict[GpuKind, tuple[str, ...]] = {
    "none": (),
    "intel": ("render",),
    "nvidia": (),
    "jetson": ("video", "render"),
}


def service_unit(
    root: Path, profile: Profile, *, user: str = USER, python: str = "/usr/bin/python3", port: int = 8808
) -> str:
    """The text of ``edgekit.service``.

    Args:
        root: Of the device, absolute.
        profile: Whose limits hold.
        user: Runs everything; owns ``state`` and ``record`` of ``root``.
        python: The box's own, absolute.
        port: On loopback.

    Raises:
        ProvisionError: A path holds characters that systemd would read as something else.
    """
    for path in (str(root), python):
        if not _PLAIN.fullmatch(path):
            raise ProvisionError(
                f"{path!r} cannot stand in a systemd unit.",
                state="No unit was written.",
                remedy="Use an absolute path of letters, digits, dots, hyphens and underscores.",
            )
    serve, gpu = profile.serve, profile.match.gpu
    memory_mb = 2 * serve.memory_limit_mb + _SMALL_MB
    processor = 100 * max(profile.match.min_cores, serve.threads)
    nodes = [f"DeviceAllow={node} rw" for node in _GPU_NODES[gpu]]
    groups = [f"SupplementaryGroups={group}" for group in _GPU_GROUPS[gpu]]
    devices = "\n".join(["DevicePolicy=closed", *nodes, *groups])
    # PrivateDevices= would hide the GPU's nodes
    private = "no" if _GPU_NODES[gpu] else "yes"
    in_home = str(root).startswith(("/home/", "/root/", "/run/user/"))
    home = f"ProtectHome=tmpfs\nBindPaths={root}" if in_home else "ProtectHome=yes"
    return f"""\
# Written by edgekit for the profile {profile.name}; 'edgekit provision install' writes it anew.
[Unit]
Description=Loan scoring in the branch (edgekit)
After=local-fs.target time-set.target
StartLimitIntervalSec=0
ConditionPathExists={root}/launcher.pyz

[Service]
Type=notify
NotifyAccess=main
ExecStart={python} -I {root}/launcher.pyz {root} --port {port}
User={user}
Group={user}
WorkingDirectory={root}
UMask=0077
Restart=always
RestartSec=5
# a GPU compiles its engines at the first start
TimeoutStartSec=900
# servers end within ten seconds of SIGTERM
TimeoutStopSec=20
KillMode=mixed
WatchdogSec={_WATCHDOG_S}

# what the profile allows: two workers at its ceiling, since a release in trial is loaded beside the one that serves
MemoryMax={memory_mb}M
MemorySwapMax=0
CPUQuota={processor}%
TasksMax={_TASKS}
LimitNOFILE=16384
LimitCORE=0
OOMPolicy=continue

# files: what the device keeps and the record of its slots; all else under {root} is root's
ProtectSystem=strict
{home}
ReadWritePaths={root}/state {root}/record
PrivateTmp=yes
PrivateDevices={private}
{devices}
ProtectProc=invisible
ProcSubset=all
RemoveIPC=yes

# network: this machine only; headquarters' is added by a drop-in, edgekit.service.d/headquarters.conf
IPAddressDeny=any
IPAddressAllow=localhost
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SocketBindDeny=any
SocketBindAllow=tcp:{port}

# privileges: none, and no way to any
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
PrivateUsers=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SecureBits=noroot-locked
KeyringMode=private
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def user_unit() -> str:
    """The text of a sysusers.d(5) file that makes the user."""
    return f'u {USER} - "Loan scoring in the branch"\n'


def write_units(folder: Path, root: Path, profile: Profile, **given: str) -> tuple[Path, ...]:
    """Write both files into ``folder``, ``edgekit.service`` and ``edgekit.conf`` for sysusers.d; returns them.

    Args:
        folder: Made where it is missing.
        root: Of the device.
        profile: Whose limits hold.
        given: As of ``service_unit``.

    Raises:
        ProvisionError: They cannot be written, or a path cannot stand in a unit.
    """
    files = {folder / UNIT_NAME: service_unit(root, profile, **given), folder / f"{USER}.conf": user_unit()}  # type: ignore[arg-type]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProvisionError(f"The systemd units cannot be written: {error}.") from error
    return tuple(files)
