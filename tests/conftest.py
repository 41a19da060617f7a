"""Fixtures for every test: a state directory of its own, real models, and the measuring data where there is any."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from devices.state import VARIABLE, state_dir
from examples.documents import sheet
from examples.models import fetch

settings.register_profile("suite", deadline=None)  # a busy machine is no failure
settings.load_profile("suite")

ROOT = Path(__file__).parent.parent
DOWNLOADS = state_dir() / "cache" / "models"  # shared by all runs on this machine: its contents are pinned by hash

_FAILED = pytest.StashKey[bool]()
_MAY_SKIP = "tests/contract/"  # GPU backends; its conftest names the backends that must run
_NO_DATA = "the measuring data is not beside this checkout"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--complete``, with which './build.sh check' runs where nothing is missing."""
    parser.addoption(
        "--complete",
        action="store_true",
        help="A test that skips fails: this machine is said to have all that './build.sh system' installs, and root's "
        "rights. Only GPU backends and the measuring data may be missing.",
    )


class _Telling:
    """Says what failed as it fails: a run that is cut off has told why."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr)
            self._terminal.ensure_newline()
            self._terminal.write_line(f"{report.nodeid} ({report.when}): {why[-1500:]}", red=True)


def pytest_sessionstart(session: pytest.Session) -> None:
    plugins = session.config.pluginmanager
    plugins.register(_Telling(plugins.get_plugin("terminalreporter")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what skipped, where everything is said to be there; and remember what failed."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    if report.skipped and item.config.getoption("--complete") and not item.nodeid.startswith(_MAY_SKIP):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if _NO_DATA in why:
            return report
        report.outcome, report.longrepr = "failed", f"{why}. With --complete this test has to run."
    return report


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where tests keep their state, numbered; pytest's own numbering looks through all that are there for each."""
    folder = tmp_path_factory.mktemp("states")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def own_state(
    states: Iterator[Path], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """Keys and caches of a test are its own: nothing it signs is trusted anywhere else."""
    path = next(states)
    path.mkdir(mode=0o700)
    monkeypatch.setenv(VARIABLE, str(path))
    yield path
    if _FAILED not in request.node.stash:
        shutil.rmtree(path, ignore_errors=True)  # a server's compiled models are 25 MB


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public measuring data beside the checkout; the project's own tests pass without it."""
    path = ROOT.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip(_NO_DATA)
    return path


@pytest.fixture(scope="session")
def ppocr_v4() -> Path:
    """PP-OCRv4 mobile as Paddle models, with its dictionary."""
    return fetch("ppocr-v4", DOWNLOADS / "ppocr-v4")


@pytest.fixture(scope="session")
def ppocr_v6() -> Path:
    """PP-OCRv6 small as ONNX, its characters in the rec model."""
    return fetch("ppocr-v6", DOWNLOADS / "ppocr-v6")


@pytest.fixture
def fetched_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """PDFs are drawn with the font that every run on this machine shares."""
    folder = fetch("font", DOWNLOADS / "font")
    monkeypatch.setattr(sheet, "fetch", {"font": folder}.__getitem__)
