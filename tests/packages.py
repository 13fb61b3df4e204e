"""What `python -m build` has made is what is meant: python tests/packages.py DIST [--no-tests].

The wheel holds the package alone, with its licences; the source distribution holds what its tests read, and those that
read files pass in it, unpacked elsewhere; the description leads nowhere into the repository.
"""

import email.message
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "lagrangian_learning"
LICENCES = ("LICENSE", f"{PACKAGE}/data/README.md")
NEEDED = (
    "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "hatch_build.py",
    ".ci/run", "docs/theory.md", "docs/images/speech.png", "notebooks/README.md", "notebooks/01_quickstart.ipynb",
    "benchmarks/README.md", "benchmarks/xor_ensemble.c", "benchmarks/studies/robustness.py",
    "benchmarks/results/robustness.json", "tests/conftest.py", f"{PACKAGE}/data/japanese_vowels.npz",
)  # fmt: skip
# Of these the fast ones read pages, notebooks, results and sources, and the command line.
READING = (
    "tests/test_docs.py", "tests/test_notebooks.py", "tests/test_readme.py", "tests/test_benchmarks.py",
    "tests/test_packaging.py", "tests/test_tolerances.py", "tests/commands/test_study.py",
    "tests/commands/test_output.py",
)  # fmt: skip


def check_wheel(path: Path) -> None:
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        described = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    others = [name for name in names if not name.startswith((f"{PACKAGE}/", f"{info}/"))]
    assert not others, f"the wheel holds more than the package: {others[:5]}"
    for name in (f"{PACKAGE}/py.typed", f"{PACKAGE}/data/japanese_vowels.npz"):
        assert name in names, f"the wheel misses {name}"
    for licence in LICENCES:
        assert f"{info}/licenses/{licence}" in names, f"the wheel misses the licence {licence}"
    check_description(described)


def check_description(described: email.message.Message) -> None:
    text = str(described.get_payload())
    inside = re.findall(r"\]\((?!https?:)[^)]*\)", text)
    assert not inside, f"the description has links into the repository: {inside}"
    assert "$$" not in text, "the description has an equation that only some pages show"
    assert described["License-Expression"] == "MIT AND CC-BY-4.0"
    assert set(described.get_all("License-File") or ()) == set(LICENCES)


def unpacked(path: Path, folder: Path) -> Path:
    with tarfile.open(path) as sdist:
        # Python 3.11 has the filter from 3.11.4 on; there it is no default yet.
        sdist.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202  # our own
    (root,) = folder.iterdir()
    return root


def check_sdist(root: Path) -> None:
    missing = [name for name in NEEDED if not (root / name).is_file()]
    assert not missing, f"the source distribution misses {missing}"
    litter = [str(path) for path in root.rglob("*") if path.name in {"__pycache__", ".git", "dist"}]
    assert not litter, f"the source distribution holds {litter[:5]}"


def run_tests(root: Path) -> None:
    """With the unpacked package, whatever is installed."""
    call = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *READING]
    done = subprocess.run(call, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, check=False)  # noqa: S603
    assert done.returncode == 0, "tests fail in the unpacked source distribution"


def main() -> None:
    dist, *options = sys.argv[1:]
    (wheel,), (sdist,) = Path(dist).glob("*.whl"), Path(dist).glob("*.tar.gz")
    check_wheel(wheel)
    with tempfile.TemporaryDirectory() as folder:
        root = unpacked(sdist, Path(folder))
        check_sdist(root)
        if "--no-tests" not in options:
            run_tests(root)
    print(f"{wheel.name} and {sdist.name} hold what they should")


if __name__ == "__main__":
    main()
