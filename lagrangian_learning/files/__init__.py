"""Files: pytrees of arrays, written whole and checked when read."""

from .saved import (
    WrongFileError as WrongFileError,
    load as load,
    save as save,
)
