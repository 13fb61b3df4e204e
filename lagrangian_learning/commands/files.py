"""Where commands may write."""

from pathlib import Path


def check_folders(command: str, *files: Path | None) -> None:
    """Ends the command now, not after minutes of work, when a file could not be written."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise SystemExit(f"{command}: there is no folder {file.parent} to write {file.name} into; make it first.")
