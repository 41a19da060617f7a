"""What the benchmark of devices counts, on texts and bundles whose answer is known."""

from __future__ import annotations

from pathlib import Path

from benchmarks.devices_bank import beyond_loopback

_TRACE = """\
12 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3
12 connect(3, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT (No such file or directory)
12 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
12 bind(3, {sa_family=AF_INET6, sin6_port=htons(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0
12 getsockname(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")}, [16]) = 0
"""
_BEYOND = """\
12 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.34")}, 16) = -1 ENETUNREACH
12 connect(3, {sa_family=AF_INET6, sin6_port=htons(53), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = -1
12 sendto(3, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.3")}, 16) = 1
12 bind(3, {sa_family=AF_INET, sin_port=htons(8808), sin_addr=inet_addr("0.0.0.0")}, 16) = 0
"""


def test_every_call_that_reaches_beyond_loopback_is_counted_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(_TRACE + _BEYOND)
    assert beyond_loopback(tmp_path / "trace") == _BEYOND.splitlines(keepends=True)
