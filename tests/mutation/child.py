"""Processes that know JAX and the package already: forked for each trial, before any JAX backend is initialised."""

import gc
import importlib
import os
import signal
import sys
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType

import diffrax  # noqa: F401
import equinox  # noqa: F401
import jax
import optax  # noqa: F401
import optimistix  # noqa: F401
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "lagrangian_learning"

warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)


def with_hook() -> types.ModuleType:
    """The suite's conftest, which installs the checks of shapes: before the package is imported."""
    return importlib.import_module("tests.conftest")


def import_package() -> None:
    """The package and all its modules that are to be mutated."""
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[1] in {"mechanics", "learning", "steppers"}:
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))


def forked(work: Callable[[], int], limit: float) -> int:
    """The exit status of `work` in a child: what it returns, minus a signal, or −SIGALRM after `limit` seconds."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            silence = os.open(os.environ.get("MUTATION_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            status = work()
        except BaseException:  # noqa: BLE001  # whatever it was, the child must end here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    watch = threading.Timer(limit, os.kill, (pid, signal.SIGALRM))
    watch.daemon = True
    watch.start()
    _, status = os.waitpid(pid, 0)
    watch.cancel()
    return os.waitstatus_to_exitcode(status)


# -- sources that are changed as they are imported ---------------------------------------------------------------------


def change_sources(changed: Callable[[Path, bytes], bytes | None]) -> None:
    """From now on a module's source passes through `changed` at import; None leaves it as it is."""
    get_code = SourceFileLoader.get_code

    def get_changed(self: SourceFileLoader, fullname: str) -> CodeType | None:
        path = Path(self.path)
        new = changed(path, path.read_bytes()) if fullname.startswith(PACKAGE) else None
        return get_code(self, fullname) if new is None else self.source_to_code(new, self.path)

    SourceFileLoader.get_code = get_changed


def swap_code(module: types.ModuleType, source: bytes) -> int:
    """Gives the functions of an imported module the code of another source of it; the number of those changed."""
    assert module.__spec__ is not None
    loader, path = module.__spec__.loader, module.__spec__.origin
    assert isinstance(loader, SourceFileLoader)
    assert path is not None
    old, new = (loader.source_to_code(text, path) for text in (Path(path).read_bytes(), source))
    live: dict[tuple[str, int], list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename == path:
            live.setdefault((each.__code__.co_qualname, each.__code__.co_firstlineno), []).append(each)
    count = 0
    for before, after in _pairs(old, new):
        for function in live.get((before.co_qualname, before.co_firstlineno), []):
            if before != after and function.__code__ == before:
                function.__code__ = after
                count += 1
    return count


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """A module's functions and those inside them, in both versions; none inside one that lost or gained some."""
    mine, other = ([const for const in code.co_consts if isinstance(const, CodeType)] for code in (old, new))
    if len(mine) == len(other):
        for before, after in zip(mine, other, strict=True):
            yield before, after
            yield from _pairs(before, after)


# -- pytest in a child -------------------------------------------------------------------------------------------------


class Chosen:
    """Runs the tests named, in that order; a test that takes far longer than before kills the process by SIGALRM."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.failed: str | None = None
        self.ran = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in self.seconds if name in found]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(60 + 15 * self.seconds[item.nodeid]))
        result = yield
        signal.alarm(0)
        self.ran += 1
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid


class Reached:
    """Notes which statements each test of these names executes, and how long it takes alone, if it passes."""

    def __init__(self, only: set[str]) -> None:
        self.only = only
        self.now: set[tuple[str, int]] = set()
        self.tests: dict[str, dict] = {}
        self.passed = True

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if getattr(item, "originalname", item.name) in self.only]

    def mark(self, file: str, line: int) -> None:
        self.now.add((file, line))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        jax.clear_caches()  # a test that finds its law traced executes nothing
        self.now, self.passed, begin = set(), True, time.perf_counter()
        result = yield
        lines = sorted(f"{file}:{line}" for file, line in self.now)
        if self.passed:
            self.tests[item.nodeid] = {"seconds": round(time.perf_counter() - begin, 2), "lines": lines}
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed = self.passed and not report.failed


def run_tests(files: Iterable[str], plugin: object) -> int:
    """pytest in this process; the plugin says what it found."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=0"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # jaxtyping is one of its plugins
    if isinstance(plugin, Reached):
        options.remove("-x")
    return int(pytest.main([*options, f"--rootdir={ROOT}", *files], plugins=[plugin]))
