"""Checks of options before the work begins; those of files are in `files`."""


def check_counts(command: str, **counts: int) -> None:
    """Ends the command when one of these options is not at least 1."""
    for name, value in counts.items():
        if value < 1:
            raise SystemExit(f"{command}: --{name} must be at least 1.")
