"""What commands write, and where they may."""

import json
from pathlib import Path
from typing import Any


def check_folders(command: str, *files: Path | None) -> None:
    """Ends the command now, not after minutes of work, when a file could not be written."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise SystemExit(f"{command}: there is no folder {file.parent} to write {file.name} into; make it first.")


def write_json(numbers: Any, path: Path) -> None:
    """The numbers as indented JSON that ends with a line break."""
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
