"""`lagrangian-learning study NAME`: the studies of the repository, which are no part of the installed package."""

import ast
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WHERE = Path("benchmarks", "studies")


def add_studies(app: Any, args: list[str]) -> None:
    """Adds the studies to a `SubcommandApp`; only the one that `args` begin with is imported.

    Raises SystemExit where no checkout of the repository is found.
    """
    root = checkout()
    if root is None:
        raise SystemExit(
            "study: studies are in benchmarks/studies of the repository, not in the installed package; go to a "
            "checkout of the repository and ask again there."
        )
    for name, summary in studies(root).items():
        chosen = args[:1] == [name] or args[:1] == [name.replace("_", "-")]
        command = imported(root, name) if chosen else functools.partial(_not_chosen, name)
        app.command(command, name=name, help=None if chosen else summary)


def checkout(start: Path | None = None) -> Path | None:
    """The root of the checkout that one stands in, or that this package is in; None: there is neither."""
    start = Path.cwd() if start is None else start
    places = (start, *start.parents, Path(__file__).resolve().parents[2])
    return next((place for place in places if _is_checkout(place)), None)


def _is_checkout(place: Path) -> bool:
    return (place / WHERE / "study.py").is_file() and (place / "lagrangian_learning").is_dir()


def studies(root: Path) -> dict[str, str]:
    """The modules with a function `study`, and the first line of what it says of itself; none is imported."""
    found = {}
    for file in sorted((root / WHERE).glob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == "study":
                found[file.stem] = (ast.get_docstring(node) or file.stem).splitlines()[0]
    return found


def imported(root: Path, name: str) -> Callable[..., None]:
    """The function of a study."""
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module(".".join((*WHERE.parts, name))).study
    except ModuleNotFoundError as error:
        raise SystemExit(
            f'study {name}: it needs {error.name}; install it with, in the checkout: pip install ".[bench]"'
        ) from None


def _not_chosen(name: str) -> None:
    raise AssertionError(f"{name} was not imported")


def run_file(file: str) -> None:
    """Runs the study of a file as `lagrangian-learning study NAME` does, and ends the process."""
    from .cli import main

    path = Path(file).resolve()
    sys.path.insert(0, str(path.parents[2]))
    main(["study", path.stem, *sys.argv[1:]])
    raise SystemExit
