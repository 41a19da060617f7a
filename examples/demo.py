"""The main job in one run: compress for this machine, bundle, sign, serve, score the sample application, stop.

``./build.sh demo`` calls this. Every step is the command that a bank's engineer would type; it is printed first.
Everything that is read here is invented (examples/README.md).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from devices.errors import EdgeKitError, ServeError
from edge.commands.comparison import comparison
from edge.draw import draw_lines
from edge.journal.state import open_journal
from edge.receipt import Receipt, render
from examples.models import fetch
from examples.stages import ROOT, cached
from runtime.images import load_pages
from runtime.ocr.line import Line

EXAMPLES = ROOT / "examples"
APPLICATION = EXAMPLES / "application"  # as it is committed: with the bundle, for devices to try themselves on
STATEMENTS = EXAMPLES / "statements"
EDGEKIT = Path(sys.executable).with_name("edgekit")
STAGES = 8
TRAIN_TEXTS, POOL_TEXTS = 2000, 1000  # drawn from the grammar; enough to show the way within a few minutes

console = Console(highlight=False)


@dataclass
class Demo:
    """What earlier stages leave for later ones, and the times of all of them."""

    out: Path
    times: list[tuple[str, float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time a stage and print its one line: number, name, what was said into the list, seconds."""
        said: list[str] = []
        started = time.perf_counter()
        yield said
        self.note(name, time.perf_counter() - started, "; ".join(said))

    def note(self, name: str, seconds: float, said: str) -> None:
        """Print and remember one finished stage."""
        self.times.append((name, seconds, said))
        console.print(f"[bold]{len(self.times)}/{STAGES} {name}[/]  {said}  [dim]{seconds:.1f} s[/]")


def edgekit(*arguments: str | Path) -> dict[str, Any]:
    """Run one ``edgekit`` command with ``--json`` and return its document; its progress goes to the terminal."""
    command = [str(EDGEKIT), *map(str, arguments)]
    console.print(f"[dim]$ {shlex.join(['edgekit', *(_short(each) for each in command[1:])])}[/]", soft_wrap=True)
    result = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    document: dict[str, Any] = json.loads(result.stdout) if result.stdout.strip() else {}
    if result.returncode != 0:
        error = document.get("error", {})
        raise EdgeKitError(
            f"edgekit {arguments[0]} ended with status {result.returncode}: {error.get('problem', 'no message')}",
            state=error.get("state", "The demonstration stopped."),
            remedy=error.get("remedy", "Run the command that is printed above by itself."),
        )
    return document


def _short(argument: str) -> str:
    return argument.replace(f"{ROOT}/", "")


def build_demo_bundle(demo: Demo) -> Path:
    """Stages 2 to 5: real models, this device's profile, compression, a signed bundle."""
    with demo.stage("models") as said:
        models = fetch("ppocr-v4")
        said.append("PP-OCRv4 mobile det, rec, cls; SHA-256 as pinned")
    with demo.stage("device") as said:
        facts = edgekit("device", "probe")
        profile = edgekit("device", "match")["profile"]
        said.append(f"{facts['cores']} cores, {facts['memory_mb']:,} MB, profile {profile}")
    with demo.stage("compress") as said:
        artifacts = _compress(models, profile, demo.out, said)
    with demo.stage("bundle") as said:
        bundle = demo.out / "bundle"
        policy = EXAMPLES / "policy.toml"
        # the same contents keep the same bundle: a new one would only be another time stamp
        kept, _ = cached(
            "bundle",
            [*artifacts, policy, profile, APPLICATION, *sorted((ROOT / "edge" / "bundle").glob("*.py"))],
            lambda out: _build_bundle(artifacts, profile, policy, out),
        )
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(kept / "bundle", bundle)
        verified = edgekit("bundle", "verify", bundle)
        said.append(f"{verified['files']} files, signed by {verified['signed_by']}, every byte verified")
    return bundle


def _build_bundle(artifacts: Sequence[Path], profile: str, policy: Path, out: Path) -> None:
    given = ("--profile", profile, "--policy", policy, "--sample", APPLICATION)
    edgekit("bundle", "build", *artifacts, *given, "--out", out / "bundle")


def _compress(models: Path, profile: str, out: Path, said: list[str]) -> list[Path]:
    ocr_data = EXAMPLES / "ocr"
    ocr, kept_ocr = cached(
        "ocr",
        [models, ocr_data, profile],
        lambda out: _run_compress(
            out,
            *("ocr", "--models", models, "--calibration", ocr_data / "calibration"),
            *("--truth", ocr_data / "evaluation" / "Label.txt", "--profile", profile),
        ),
    )
    texts, _ = cached("texts", [STATEMENTS], _write_texts)
    teacher = EXAMPLES / "teacher" / "model"
    ernie, kept_ernie = cached(
        "ernie",
        [teacher, texts, profile],
        lambda out: _run_compress(
            out,
            *("ernie", "--teacher", teacher, "--train", texts / "train.tsv", "--dev", texts / "dev.tsv"),
            # both, so that there is something to compare: left to itself, the first that passes would end the search
            *("--pool", texts / "pool.txt", "--profile", profile, "--recipe", "quantize", "--recipe", "distil"),
        ),
    )
    histories, _ = cached("histories", [EXAMPLES / "transactions"], _write_histories)
    behaviour, kept_behaviour = cached(
        "behaviour",
        [histories, profile],
        lambda out: _run_compress(
            out,
            *("behaviour", "--train", histories / "train.jsonl.gz", "--dev", histories / "dev.jsonl.gz"),
            *("--profile", profile),
        ),
    )
    kept = sum((kept_ocr, kept_ernie, kept_behaviour))
    said.append(f"{kept} of 3 kept from an earlier run" if kept else "FP32 against compressed, below")
    artifacts = {"ocr": ocr / "artifact", "text": ernie / "artifact", "behaviour": behaviour / "artifact"}
    for kind, artifact in artifacts.items():
        shutil.copyfile(artifact / "report.png", out / f"compressed-{kind}.png")
        console.print(comparison(json.loads((artifact / "report.json").read_text(encoding="utf-8"))["rows"]))
    return list(artifacts.values())


def _run_compress(out: Path, *arguments: str | Path) -> None:
    edgekit("compress", *arguments, "--out", out / "artifact")
    shutil.rmtree(out / "artifact.stages", ignore_errors=True)  # this stage is kept as a whole


def _write_texts(out: Path) -> None:
    from examples.statements.grammar import generate

    written = (STATEMENTS / "written_train.tsv").read_text(encoding="utf-8")
    drawn = [f"{','.join(each.labels)}\t{each.text}\n" for each in generate(TRAIN_TEXTS, seed=11)]
    (out / "train.tsv").write_text(written + "".join(drawn), encoding="utf-8")
    (out / "pool.txt").write_text("".join(f"{each.text}\n" for each in generate(POOL_TEXTS, seed=12)), encoding="utf-8")
    shutil.copyfile(STATEMENTS / "written_dev.tsv", out / "dev.tsv")


def _write_histories(out: Path) -> None:
    from examples.transactions.generate import write

    write(out / "train.jsonl.gz", 2000, seed=21)
    write(out / "dev.jsonl.gz", 500, seed=22)


@contextmanager
def served(bundle: Path) -> Iterator[str]:
    """The runtime with ``bundle`` on a free loopback port; stopped by SIGTERM, and waited for."""
    process = subprocess.Popen(
        [str(EDGEKIT), "serve", "--bundle", str(bundle), "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline() or "{}")
        if "url" not in document:
            raise ServeError(f"The server did not start: {document.get('error', {}).get('problem', 'no message')}")
        yield document["url"]
    finally:
        process.terminate()
        status = process.wait(timeout=30)
    if status != 0:
        raise ServeError(f"The server ended with status {status} when told to stop.")


def meet_headquarters() -> None:
    """Stand in for headquarters, which this machine's policy does not name: a lease begins anew with every run."""
    journal = open_journal()
    journal.append("contact", {"via": "demo"})
    journal.close()


def todays_application(out: Path) -> Path:
    """The sample application with this week's dates, since a bank looks at no papers of long ago."""
    from examples.application import draw

    later = draw.weeks_since(datetime.now().astimezone().date())
    source = [EXAMPLES / "application", EXAMPLES / "documents", EXAMPLES / "transactions"]
    drawn, _ = cached("application", [*source, str(later)], lambda draft: draw.write(draft, later))
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(drawn, out)
    return out


def score_sample(url: str, sample: Path, out: Path) -> Receipt:
    """Send the sample application as a kiosk would; write receipt.json and the pictures with what was read."""
    application = (sample / "application.json").read_bytes()
    documents = json.loads(application)["documents"]
    parts: list[tuple[str, tuple[str, bytes]]] = [("application", ("application.json", application))]
    parts += [("file", (each["file"], (sample / each["file"]).read_bytes())) for each in documents]
    answer = requests.post(f"{url}/v1/score", files=parts, timeout=120)
    if answer.status_code != 200:
        raise EdgeKitError(f"The server answered {answer.status_code}: {answer.text}")
    receipt = Receipt.model_validate_json(answer.content)
    (out / "receipt.json").write_text(json.dumps(answer.json(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    font = fetch("font") / "font.otf"
    for document in receipt.documents:
        data = (sample / document.file).read_bytes()
        read = requests.post(f"{url}/v1/ocr", data=data, timeout=120).json()["pages"]
        for number, (page, found) in enumerate(zip(load_pages(data), read, strict=True)):
            lines = [Line(each["text"], each["confidence"], tuple(map(tuple, each["box"]))) for each in found["lines"]]
            # a receipt's boxes lie on the page where the field was found, which is the first for all of the sample's
            fields = {} if number else {name: each.box for name, each in document.fields.items() if name != "rows"}
            picture = draw_lines(page.image, lines, font, fields)
            (out / f"{document.kind}-{number + 1}.png").write_bytes(picture)
    return receipt


def main() -> int:
    """Run every stage; returns the exit status."""
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument("--setup-seconds", type=float, default=0.0, help="What setting up took before this.")
    parser.add_argument("--out", type=Path, default=ROOT / "demo-out")
    arguments = parser.parse_args()
    demo = Demo(arguments.out)
    started = time.perf_counter() - arguments.setup_seconds
    demo.note("set-up", arguments.setup_seconds, "locked dependencies in .venv")
    try:
        bundle = build_demo_bundle(demo)
        sample = todays_application(demo.out / "application")
        serving = time.perf_counter()
        meet_headquarters()
        with served(bundle) as url:
            models = requests.get(f"{url}/v1/status", timeout=10).json()["models"]
            shown = ", ".join(f"{each['name']} {each['precision']}" for each in models)
            demo.note("serve", time.perf_counter() - serving, f"{url}, {shown} on {models[0]['backend']}")
            with demo.stage("score") as said:
                receipt = score_sample(url, sample, demo.out)
                said.append(f"risk {receipt.score} of 100 ({receipt.risk_level}), {receipt.decision}")
            stopping = time.perf_counter()
        demo.note("stop", time.perf_counter() - stopping, "the server ended by itself")
    except EdgeKitError as error:
        Console(stderr=True).print(f"{error}", style="red", markup=False, soft_wrap=True)
        return error.exit_code
    console.print(render(receipt))
    console.print(_times(demo, time.perf_counter() - started))
    console.print(f"Receipt, bundle and pictures are in {_short(str(demo.out))}/")
    return 0


def _times(demo: Demo, total: float) -> Table:
    table = Table("Stage", "Seconds", "What", title="Stages")
    for name, seconds, said in demo.times:
        table.add_row(name, f"{seconds:.1f}", said)
    peak_mb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    table.add_row("total", f"{total:.1f}", f"largest process {peak_mb:,.0f} MB")
    return table


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
