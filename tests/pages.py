"""The pages of the repository, and how their programs are run: as a reader runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README, GUIDE, BATCHES = ROOT / "README.md", DOCS / "guide.md", DOCS / "batches.md"
GUIDES = ("quickstart", "mechanics", "choosing", "data", "optimizers", "plotting", "troubleshooting")
"""Pages by task, each one program that asserts its claims."""


def blocks(page, language):
    """The fenced blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run(code, **environment):
    """What a program prints in a fresh process, with warnings as errors."""
    call = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(  # noqa: S603  # our own code
        call, capture_output=True, text=True, timeout=850, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
