"""A medium is checked to its last byte before anything of it runs, and a clerk hears which file is damaged."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from devices.provision import bootstrap
from devices.provision.bootstrap import Refusal, cannot_write, check_machine, find_damage, write_sums

# stands in for the kit on the medium: says how it was called, or does as it is told
_KIT = """
import json, sys, time


def main():
    said = {"arguments": sys.argv[1:], "path": sys.path[0]}
    print(json.dumps(said), flush=True)
    time.sleep(2 if "--linger" in sys.argv else 0)
    return 0
"""


def document(**changes: Any) -> dict[str, Any]:
    usual = {"arch": platform.machine(), "glibc": "2.5", "python": "3.11", "profile": "small", "tools": ["repo/kit"]}
    return {**usual, "interpreter": None, **changes}


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """Sealed, with a kit of a few lines."""
    place = tmp_path / "medium with a space"
    (place / "repo").mkdir(parents=True)
    with zipfile.ZipFile(place / "repo" / "kit", "w") as wheel:
        wheel.writestr("edge/__init__.py", "")
        wheel.writestr("edge/cli.py", _KIT)
    (place / "repo" / "blob").write_bytes(random.Random(7).randbytes(3000))
    shutil.copyfile(bootstrap.__file__, place / "bootstrap.py")
    (place / "medium.json").write_text(json.dumps(document()))
    write_sums(place)
    return place


def run(medium: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["sh", medium / "install.sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)


def flip(path: Path, position: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= mask
    path.write_bytes(data)


def test_the_kit_on_the_medium_is_started_with_the_arguments_and_leaves_nothing_unpacked(
    medium: Path, tmp_path: Path
) -> None:
    done = run(medium, "--root", tmp_path / "root", "--by", "a clerk", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    root = str(tmp_path / "root")
    assert said["arguments"] == ["provision", "install", str(medium), "--root", root, "--by", "a clerk", "--json"]
    assert said["path"] == f"{root}/bootstrap/kit"
    assert not (tmp_path / "root" / "bootstrap").exists()


def test_the_sums_are_those_that_sha256sum_checks(medium: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=medium, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "bootstrap.py: OK" in done.stdout


@pytest.mark.parametrize("name", ["SHA256SUMS", "bootstrap.py", "install.sh", "medium.json", "repo/blob", "repo/kit"])
def test_any_flipped_byte_is_found_and_its_file_named(medium: Path, name: str) -> None:
    drawn = random.Random(name)
    size = (medium / name).stat().st_size
    for position in [0, size - 1, *(drawn.randrange(size) for _ in range(40))]:
        mask = drawn.randrange(1, 256)
        flip(medium / name, position, mask)
        damage = find_damage(medium)
        assert damage is not None
        assert name in damage or "SHA256SUMS" in (name, damage.split()[0])
        flip(medium / name, position, mask)
    assert find_damage(medium) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [('eval "$r"', 'eval "$p"'), ("\nm=", "\no="), ("dirname --", "dirname -,"), ("\necho", "\x0becho")],
)
def test_a_script_that_was_damaged_so_that_it_would_do_nothing_says_so(
    medium: Path, tmp_path: Path, old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(medium)
    script = medium / "install.sh"
    assert script.read_text().count(old) == 1
    script.write_text(script.read_text().replace(old, new))
    done = run(medium, "--root", tmp_path / "root")
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert "install.sh" in done.stderr
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("name", ["SHA256SUMS", "bootstrap.py", "install.sh", "repo/blob"])
def test_nothing_is_installed_from_a_damaged_medium_and_the_message_names_the_file(
    medium: Path, tmp_path: Path, name: str
) -> None:
    drawn = random.Random(name)
    for _ in range(4):
        position, mask = drawn.randrange((medium / name).stat().st_size), drawn.randrange(1, 256)
        flip(medium / name, position, mask)
        done = run(medium, "--root", tmp_path / "root")
        assert done.returncode != 0
        assert name in done.stderr, (position, mask, done.stderr)
        assert not (tmp_path / "root").exists()
        flip(medium / name, position, mask)


def test_an_untold_file_on_the_stick_is_neither_refused_nor_used(medium: Path, tmp_path: Path) -> None:
    (medium / "System Volume Information").mkdir()
    (medium / "json.py").write_text("raise SystemExit('a module of the stick was imported')")
    done = run(medium, "--root", tmp_path / "root")
    assert done.returncode == 0, done.stderr


def test_a_medium_of_another_version_of_the_kit_is_judged_by_its_sums(medium: Path) -> None:
    with (medium / "bootstrap.py").open("a") as file:
        file.write("# of a later version\n")
    write_sums(medium)
    script = (medium / "install.sh").read_text()
    (medium / "install.sh").write_text(script + "# worded otherwise\n")
    assert find_damage(medium) is None
    flip(medium / "repo" / "blob", 7)
    assert "repo/blob" in (find_damage(medium) or "")
    flip(medium / "repo" / "blob", 7)
    flip(medium / "SHA256SUMS", 7)
    assert "SHA256SUMS" in (find_damage(medium) or "")


def test_a_missing_file_is_named(medium: Path) -> None:
    (medium / "repo" / "blob").unlink()
    assert find_damage(medium) == "repo/blob is missing from the medium."
    (medium / "SHA256SUMS").unlink()
    assert "SHA256SUMS is missing" in (find_damage(medium) or "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arch": "riscv64"}, "for riscv64 devices"),
        ({"glibc": "9.99"}, "glibc 9.99 or newer; this one has glibc 2"),
        ({"python": "3.99"}, "for Python 3.99; python3 here is 3.11"),
    ],
    ids=["architecture", "C library", "Python"],
)
def test_a_medium_for_another_machine_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match="This medium is for") as refused:
        check_machine(document(**changes))
    assert words in refused.value.problem
    assert refused.value.code == "PROVISION-012"


def test_a_medium_with_its_own_python_does_not_ask_for_the_machines(medium: Path) -> None:
    check_machine(document(python="3.99", interpreter="repo/python.tar"))


def test_another_machine_is_told_in_json_and_nothing_is_written(medium: Path, tmp_path: Path) -> None:
    (medium / "medium.json").write_text(json.dumps(document(arch="riscv64")))
    write_sums(medium)
    done = run(medium, "--root", tmp_path / "root", "--json")
    assert done.returncode == 14
    error = json.loads(done.stdout)["error"]
    assert (error["code"], set(error)) == ("PROVISION-012", {"code", "problem", "state", "remedy"})
    assert not (tmp_path / "root").exists()


def test_a_second_installation_at_once_is_refused_and_the_first_goes_on(medium: Path, tmp_path: Path) -> None:
    command = ["sh", medium / "install.sh", "--root", tmp_path / "root", "--linger"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = run(medium, "--root", tmp_path / "root")
        assert first.wait() == 0
    assert second.returncode == 14
    assert "PROVISION-004" in second.stderr
    assert "is under way" in second.stderr


def test_a_root_that_is_a_file_of_somebody_is_refused(medium: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a letter")
    done = run(medium, "--root", tmp_path / "taken")
    assert done.returncode == 14
    assert "PROVISION-014" in done.stderr
    assert (tmp_path / "taken").read_text() == "a letter"


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (28, "PROVISION-013", "is full"),
        (30, "PROVISION-014", "read-only"),
        (13, "PROVISION-014", "may not write"),
        (5, "PROVISION-014", "cannot be written"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(number: int, code: str, words: str) -> None:
    refusal = cannot_write(Path("/opt/edgekit"), OSError(number, os.strerror(number)))
    assert refusal.code == code
    assert words in refusal.problem
    assert refusal.remedy.endswith(".")


def provisioned(root: Path, active: str = "b") -> Path:
    """A device whose active slot's Python is this one, with a kit that says how it was called."""
    environment = root / "slots" / active / "environment"
    packages = environment / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "edge"
    packages.mkdir(parents=True)
    (packages / "__init__.py").touch()
    (packages / "cli.py").write_text("import sys\nprint('own kit:', *sys.argv[1:])\n")
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(Path(sys._base_executable).resolve())  # type: ignore[attr-defined]
    (environment / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\n")
    (root / "record").mkdir()
    (root / "record" / "switch.json").write_text(json.dumps({"active": active}))
    return root


def test_a_provisioned_device_lets_its_own_kit_judge_the_medium(medium: Path, tmp_path: Path) -> None:
    done = run(medium, "--root", provisioned(tmp_path / "root"))
    assert done.stdout.startswith("own kit: provision install"), done.stderr
    assert not (tmp_path / "root" / "bootstrap").exists()


def test_nothing_else_that_lies_on_the_stick_runs_though_the_clerk_stands_in_its_directory(
    medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (medium / "edge").mkdir()
    (medium / "edge" / "__init__.py").touch()
    for name in ("edge/cli.py", "json.py"):
        (medium / name).write_text("print('of the stick')\n")
    monkeypatch.chdir(medium)
    for arguments in (("--root", provisioned(tmp_path / "root")), ("--root", tmp_path / "bare")):
        assert "of the stick" not in run(medium, *arguments).stdout


def test_a_record_that_names_no_slot_does_not_choose_what_is_started(medium: Path, tmp_path: Path) -> None:
    root = provisioned(tmp_path / "root", "../state/x")
    assert "own kit" not in run(medium, "--root", root).stdout


def test_a_stick_without_permissions_is_sealed_all_the_same(medium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as vfat mounted with showexec

    monkeypatch.setattr(Path, "chmod", refuse)
    write_sums(medium)
    assert find_damage(medium) is None
