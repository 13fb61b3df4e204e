"""The public names of the package, read from its `__init__.py` files; nothing is imported."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "lagrangian_learning"
# The command line is documented by its own --help, and its rooms export no name.
PRIVATE = ("commands",)


def _file(module: str) -> Path:
    """The file of a module, or the `__init__.py` of a package."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _absolute(module: str, level: int, name: str | None) -> str:
    """The module that `from .name import …` means in the `__init__.py` of a package."""
    if not level:
        return name or ""
    package = module.split(".")
    package = package[: len(package) - level + 1]
    return ".".join([*package, *(name.split(".") if name else [])])


@cache
def _imports(package: str) -> dict[str, tuple[str, str]]:
    """What the `__init__.py` of a package imports: name -> (module, name there)."""
    tree = ast.parse(_file(package).read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: (_absolute(package, node.level, node.module), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _is_package(module: str) -> bool:
    return _file(module).name == "__init__.py"


def defined(module: str, name: str) -> str | None:
    """Where a name is defined, as a dotted path; None: it is a module, or of another package."""
    if not module.startswith(PACKAGE):
        return None
    if not _is_package(module):
        return f"{module}.{name}"
    found = _imports(module).get(name)
    return None if found is None or found == (module, name) else defined(*found)


def _packages() -> list[str]:
    folders = (file.parent.relative_to(ROOT) for file in (ROOT / PACKAGE).rglob("__init__.py"))
    return [
        ".".join(folder.parts)
        for folder in sorted(folders)
        if not any(part.startswith("_") or part in PRIVATE for part in folder.parts)
    ]


def _short(package: str) -> str:
    """How users write a namespace; one that a function of the same name hides, as `simulate` does, is imported."""
    hidden = defined(PACKAGE, package.removeprefix(f"{PACKAGE}.")) is not None
    return package if hidden else "ll" + package[len(PACKAGE) :]


def _spaces() -> list[tuple[str, str]]:
    """(public name, package) of every namespace, with those that the top gives a second name, as `ll.laws`."""
    spaces = [(_short(package), package) for package in _packages()]
    second = [(f"ll.{name}", f"{module}.{there}") for name, (module, there) in _imports(PACKAGE).items()]
    return spaces + [(short, package) for short, package in second if (ROOT / package.replace(".", "/")).is_dir()]


@cache
def public() -> dict[str, str]:
    """Every public name under each of its paths, as "ll.laws.FullDynamics", and where it is defined."""
    found = {
        f"{space}.{name}": defined(package, name)
        for space, package in _spaces()
        for name in _imports(package)
        if not name.startswith("_")
    }
    return {path: where for path, where in found.items() if where is not None}
