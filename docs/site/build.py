"""Builds the documentation site and counts warnings: `python docs/site/build.py` exits with 1 where there is one.

A strict build is not enough: it counts what MkDocs logs, and neither what other tools print nor what the pages show.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WARNING = re.compile(r"\b(WARNING|ERROR|CRITICAL|Traceback)\b|\b\w*(Warning|Error):")
# Material announces the end of its life at every start; this is its own switch for that.
QUIET = {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"}


def built(folder: Path) -> tuple[int, list[str]]:
    """The exit status of MkDocs, and the lines that it and its plugins printed."""
    call = [sys.executable, "-m", "mkdocs", "build", "--clean", "--site-dir", str(folder)]
    done = subprocess.run(  # noqa: S603  # our own arguments
        call, cwd=ROOT, env=os.environ | QUIET, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.returncode, done.stdout.splitlines()


def main() -> int:
    """Builds, prints every warning and every fault, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "site", help="the folder of the site")
    folder = parser.parse_args().to.resolve()
    start = time.perf_counter()
    status, lines = built(folder)
    if status:
        print("\n".join(lines))
        print(f"MkDocs ended with {status}")
        return 1
    from docs.site.rendered import faults

    found = [line for line in lines if WARNING.search(line)] + list(faults(folder))
    print("\n".join(found))
    pages = len(list(folder.rglob("*.html")))
    print(f"{pages} pages in {folder}, {len(found)} warnings, {time.perf_counter() - start:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # for docs.site, where a script finds only its own folder
    raise SystemExit(main())
