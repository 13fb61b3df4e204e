"""Recorded data: utterances with labels, their streams, and the set that ships with the package."""

from .japanese_vowels import japanese_vowels as japanese_vowels
from .recordings import Recordings as Recordings, label_codes as label_codes, standardise as standardise
