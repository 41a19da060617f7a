"""Who may import whom, and what a serving box never needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "devices": {"devices"},
    "runtime": {"runtime", "devices"},
    "compress": {"compress", "runtime", "devices"},
    "edge": {"edge", "runtime", "devices"},
}
FIRST_PARTY = {*MAY_IMPORT, "examples", "tests", "benchmarks"}
# the two places of edge that reach for the compression set, inside a function and only when a person asks for it
LAZY = {"edge/convert.py", "edge/commands/compress.py"}
HEAVY = ("paddle", "paddleslim", "paddle2onnx", "onnx", "matplotlib", "safetensors", "compress", "examples")


def modules(tree: ast.AST, *, top_level_only: bool = False) -> set[str]:
    """Every module that is imported, and the packages that it is in."""
    nodes = ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[:length]) for name in found for length in range(1, name.count(".") + 2)}


def imports(tree: ast.AST, *, top_level_only: bool = False) -> set[str]:
    return {name for name in modules(tree, top_level_only=top_level_only) if "." not in name}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_downwards_only(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        allowed = MAY_IMPORT[package] | ({"compress"} if name in LAZY else set())
        assert imports(tree) & FIRST_PARTY <= allowed, name
        assert imports(tree, top_level_only=True) & FIRST_PARTY <= MAY_IMPORT[package], name


def test_what_any_model_needs_knows_nothing_of_ernie() -> None:
    for path in (ROOT / "compress").glob("*.py"):
        assert "compress.ernie" not in modules(ast.parse(path.read_text(encoding="utf-8"))), path


def test_compress_knows_nothing_of_flask_and_devices_nothing_of_backends() -> None:
    for package, foreign in (("compress", {"flask", "waitress"}), ("devices", {"openvino", "onnxruntime", "paddle"})):
        for path in (ROOT / package).rglob("*.py"):
            assert not imports(ast.parse(path.read_text(encoding="utf-8"))) & foreign, path


@pytest.mark.parametrize("module", ["edge.cli", "edge.service", "runtime.app", "runtime.server", "devices.probe"])
def test_serving_code_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(result.stdout.split())
    assert "devices" in loaded
    assert not loaded & set(HEAVY)


def test_the_command_line_starts_without_any_backend() -> None:
    code = "import sys, edge.cli; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"openvino", "onnxruntime", "paddle", "flask", "cv2"} & set(result.stdout.split())
