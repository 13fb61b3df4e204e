"""Prints the table, or the defects of rooms."""

import sys

from . import main

main(sys.argv[1:])
