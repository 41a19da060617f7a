from __future__ import annotations

import pytest

from compress.paddle_env import mkl_cpu_type


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx avx2 avx512f avx512_vnni", "7"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx avx2", "5"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fpu sse2", None),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fpu avx avx2 avx512f", None),
        ("", None),
    ],
)
def test_the_fast_path_is_asked_for_on_amd_alone(cpuinfo: str, expected: str | None) -> None:
    assert mkl_cpu_type(cpuinfo) == expected
