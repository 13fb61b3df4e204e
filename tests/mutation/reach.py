"""Which tests execute which statements, and how long each takes alone; kept in a folder that git ignores."""

import ast
import builtins
import hashlib
import json
from pathlib import Path
from typing import Any

from . import child

FOLDER = Path(__file__).parent / "reach"
ROOMS = ("mechanics", "learning", "steppers")
NEAREST = ("boundary/test_boundary.py", "optimizers/test_kick_drift.py")  # of files without a mirror in those rooms
LIMIT = 1800.0  # seconds for a file of tests


def sources() -> list[Path]:
    """The files that are mutated."""
    package = child.ROOT / child.PACKAGE
    return [path for room in ROOMS for path in sorted((package / room).rglob("*.py")) if path.name != "__init__.py"]


def short(path: Path) -> str:
    """mechanics/law.py"""
    return path.relative_to(child.ROOT / child.PACKAGE).as_posix()


def test_files() -> list[Path]:
    tests = child.ROOT / "tests"
    found = [path for room in ROOMS for path in sorted((tests / room).rglob("test_*.py"))]
    return found + [tests / name for name in NEAREST]


def reach() -> dict[str, dict[str, Any]]:
    """Test id to its seconds and lines; "import" to the lines that importing the package executes.

    Measures the tests that are new or have changed since, and all where the package has.
    """
    FOLDER.mkdir(exist_ok=True)
    package = _digest(b"".join(path.read_bytes() for path in sources()))
    tests: dict[str, dict[str, Any]] = {}
    for file in test_files():
        name = file.relative_to(child.ROOT / "tests").with_suffix("").as_posix().replace("/", ".")
        record = FOLDER / f"{name}.json"
        known = json.loads(record.read_text()) if record.exists() else {"package": None}
        if known["package"] != package:
            known = {"package": package, "functions": {}, "tests": {}}
        functions = _functions(file)
        changed = {name for name, digest in functions.items() if known["functions"].get(name) != digest}
        if changed:
            print(f"reach of {name}", flush=True)
            known["functions"] = functions
            child.forked(
                lambda file=file, record=record, known=known, only=changed: _measure(file, record, known, only), LIMIT
            )
        tests |= json.loads(record.read_text())["tests"]
    return tests


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _functions(file: Path) -> dict[str, str]:
    """A digest of each test of a file; what tests share is not looked at."""
    body = ast.parse(file.read_bytes()).body
    tests = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return {node.name: _digest(ast.unparse(node).encode()) for node in tests}


def _measure(file: Path, record: Path, known: dict[str, Any], only: set[str]) -> int:
    plugin = child.Reached(only)
    vars(builtins)["__reached__"] = plugin.mark
    names = {path: short(path) for path in sources()}
    child.change_sources(lambda path, source: _marked(names[path], source) if path in names else None)
    child.with_hook()
    child.import_package()
    plugin.tests["import"] = {"seconds": 0.0, "lines": sorted(f"{name}:{line}" for name, line in plugin.now)}
    status = child.run_tests([str(file)], plugin)
    kept = {name: test for name, test in known["tests"].items() if _function_of(name) in known["functions"]}
    kept = {name: test for name, test in kept.items() if _function_of(name) not in only}
    record.write_text(json.dumps(known | {"tests": kept | plugin.tests}))
    return status


def _function_of(test: str) -> str:
    return test.partition("::")[2].partition("[")[0]


def _marked(name: str, source: bytes) -> bytes:
    """The source with a call before each statement of its functions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                _mark_blocks(name, inner)
    return ast.unparse(ast.fix_missing_locations(tree)).encode()


def _mark_blocks(name: str, node: ast.AST) -> None:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list) and not hasattr(node, f"marked_{field}"):
            setattr(node, f"marked_{field}", True)
            marked = []
            for statement in block:
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                    call = ast.parse(f"__reached__({name!r}, {statement.lineno})").body[0]
                    marked.append(call)
                marked.append(statement)
            setattr(node, field, marked)
