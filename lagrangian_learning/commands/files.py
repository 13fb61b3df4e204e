"""The options that say where a command writes; every command that draws one picture has them."""

import dataclasses
from pathlib import Path

STDOUT = Path("-")


@dataclasses.dataclass(frozen=True)
class Files:
    """Where the picture and the numbers go.

    Args:
        output: The picture to write, replaced if it is there.
        no_picture: Draw nothing.
        json: Write all numbers to this file too; "-" prints them, and what is for readers goes to standard error.
    """

    output: Path
    no_picture: bool = False
    json: Path | None = None

    @property
    def picture(self) -> Path | None:
        """The picture to write; None: none."""
        return None if self.no_picture else self.output
