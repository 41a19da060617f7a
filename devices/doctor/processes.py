"""Checks of what runs on this machine already: who has the port, and which of the kit's own processes are left over."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from devices.doctor.check import Check


@dataclass(frozen=True)
class Running:
    """One process.

    Attributes:
        pid: Its number.
        parent: Number of the process that started it, or of whoever took it over.
        command: Its command line.
        ports: TCP ports that it listens on.
        gone: Whether the directory that it was started in, or its program, was removed since.
    """

    pid: int
    parent: int
    command: tuple[str, ...]
    ports: tuple[int, ...] = ()
    gone: bool = False

    @property
    def is_server(self) -> bool:
        """Whether it is one of the kit's servers, or what starts them."""
        if any(Path(part).name in ("launcher.pyz", "launcher.py") for part in self.command[:4]):
            return True
        kit = any(part == "edge.cli" or Path(part).name == "edgekit" for part in self.command[:4])
        return kit and "serve" in self.command[:6]

    def __str__(self) -> str:
        text = " ".join(self.command)
        return f"process {self.pid} ({text if len(text) <= 100 else text[:97] + '...'})"


def running() -> tuple[Running, ...]:
    """Every process of this machine; of other users' ones ports and directories stay unknown."""
    ports: dict[int, list[int]] = {}
    for connection in _listening():
        if connection.pid:
            ports.setdefault(connection.pid, []).append(connection.laddr.port)
    found = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        known = process.info
        found.append(
            Running(
                known["pid"],
                known["ppid"] or 0,
                tuple(known["cmdline"] or ()),
                tuple(ports.get(known["pid"], ())),
                _gone(known["pid"]),
            )
        )
    return tuple(found)


def check_port(processes: Sequence[Running], host: str, port: int) -> Check:
    """DOCTOR-013: is the port free, or held by the kit itself?

    Whose a port is, only its owner and root can see. So for anybody else a taken port on a machine where the kit serves
    is the kit's.
    """
    holders = [process for process in processes if port in process.ports]
    servers = [process for process in (holders or processes) if process.is_server]
    taken = bool(holders) or not _can_bind(host, port)
    if taken and servers:
        return Check("DOCTOR-013", "ok", f"Port {port} of {host} is served by the kit, {servers[0]}.")
    if taken:
        who = str(holders[0]) if holders else "a process of another user or container"
        return Check(
            "DOCTOR-013",
            "stop",
            f"Port {port} of {host} is taken by {who}.",
            "Stop that program, or let the kit serve on another port (--port).",
        )
    return Check("DOCTOR-013", "ok", f"Port {port} of {host} is free.")


def check_leftovers(processes: Sequence[Running], root: Path | None) -> Check:
    """DOCTOR-014: does any server of the kit run that should not?

    One is left over if its program or directory was removed under it. With ``root`` every server of another place is,
    since it takes memory from this one; without, a second one beside the first.
    """
    servers = {process.pid: process for process in processes if process.is_server}
    heads = [process for process in servers.values() if process.parent not in servers]
    left = [process for process in heads if process.gone]
    if root is not None:
        left += [process for process in heads if process not in left and not _names(process, root)]
    elif len(heads) > 1:
        left += [process for process in heads[1:] if process not in left]
    if left:
        return Check(
            "DOCTOR-014",
            "attention",
            f"{len(left)} server{'s' if len(left) > 1 else ''} of the kit besides this device's: {left[0]}.",
            f"If nobody needs it, stop it: kill {left[0].pid}",
        )
    said = ", ".join(map(str, heads)) if heads else "none"
    return Check("DOCTOR-014", "ok", f"Servers of the kit that run: {said}.")


def _names(process: Running, root: Path) -> bool:
    mine = {str(root.absolute()), str(root.resolve())}
    return any(part in mine or part.startswith(tuple(f"{each}/" for each in mine)) for part in process.command)


def _listening() -> list[Any]:
    try:
        return [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    except psutil.AccessDenied:
        return []  # then only binding tells whether a port is free


def _gone(pid: int) -> bool:
    for link in ("exe", "cwd"):
        try:
            if str(Path(f"/proc/{pid}/{link}").readlink()).endswith(" (deleted)"):
                return True
        except OSError:
            continue  # another user's, or ended meanwhile
    return False


def _can_bind(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False
