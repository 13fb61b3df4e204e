"""The docstrings of this project as Google-style ones: sections that griffe reads, and text that Markdown leaves alone.

What is rewritten: several names before one colon, names at the start of a line without a header, `Fields:`, symbols
that Markdown would take for emphasis, sentences that begin with Returns or Raises, and names of the reference.
"""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

NAME = r"[A-Za-z_]\w*(?:\(\w*\))?"
ITEM = re.compile(rf"({NAME}(?:, {NAME})*): +(.*)", re.DOTALL)
HEADERS = {"Arguments:": "Args", "Args:": "Args", "Fields:": "Attributes"}
CODE = re.compile(r"(`[^`]*`)")


class Known(NamedTuple):
    """What names mean in a docstring: parameters of the signature, members of the class, and links to others."""

    parameters: Collection[str]
    members: Collection[str]
    link: Callable[[str], str]  # of a name in backticks
    cite: Callable[[str], str]  # of text that may cite a section of the theory

    def holds(self, names: str) -> bool:
        """Whether these are all parameters, or all members."""
        bare = [_bare(name) for name in names.split(", ")]
        return all(name in self.parameters for name in bare) or all(name in self.members for name in bare)


def rewritten(text: str, known: Known) -> str:
    """A docstring, as griffe's Google parser and Markdown shall read it."""
    parts: list[tuple[str, str]] = []
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        for kind, body in _parts(block, known):
            if parts and kind in {"Args", "Attributes"} and parts[-1][0] == kind:
                parts[-1] = (kind, f"{parts[-1][1]}\n{body}")
            else:
                parts.append((kind, body))
    return "\n\n".join(body if kind in {"text", "code"} else f"{kind}:\n{body}" for kind, body in parts)


def _parts(block: str, known: Known) -> list[tuple[str, str]]:
    """(kind, text) of what a block between empty lines holds: text, code, Args or Attributes."""
    first, *rest = block.split("\n")
    if first.startswith("    "):
        return [("code", block)]
    if first in HEADERS:
        inside = [line[4:] for line in _indented(rest)]
        parts = [(HEADERS[first], _items("\n".join(inside), known, everything=True))]
        rest = rest[len(inside) :]
        return parts + (_parts("\n".join(rest), known) if rest else [])
    start = ITEM.match(first)
    if start and known.holds(start[1]):
        fields = all(_bare(name) in known.members for name in start[1].split(", "))
        return [("Attributes" if fields else "Args", _items(block, known, everything=False))]
    inside = _indented(rest[::-1])[::-1]  # a displayed list at the end of a paragraph
    if inside and len(inside) < len(rest) + 1:
        prose = "\n".join([first, *rest[: len(rest) - len(inside)]])
        return [("text", _prose(prose, known)), ("code", "\n".join(inside))]
    return [("text", _prose(block, known))]


def _indented(lines: list[str]) -> list[str]:
    count = next((i for i, line in enumerate(lines) if not line.startswith("    ")), len(lines))
    return lines[:count]


def _items(block: str, known: Known, *, everything: bool) -> str:
    """The items of a section, one name each. everything: names at the start of a line need not be known."""
    pieces = re.split(rf"\n(?=\S)|(?<=[.;]) +(?={NAME}(?:, {NAME})*: )", block)
    items: list[tuple[str, str]] = []
    for piece in pieces:
        found = ITEM.match(piece)
        at_start = piece == pieces[0] or f"\n{piece}" in block
        if found and (known.holds(found[1]) or (everything and at_start)):
            items.append((found[1], found[2]))
        elif items:
            items[-1] = (items[-1][0], f"{items[-1][1]} {piece}")
    return "\n".join(line for names, text in items for line in _rows(names, _sentence(text), known))


def _rows(names: str, text: str, known: Known) -> list[str]:
    bare = [_bare(name) for name in names.split(", ")]
    shares = re.split(r", | and ", text.rstrip("."))
    if len(bare) > 1 and len(shares) == len(bare) and not re.search(r"[.;:] ", text):
        return [f"    {name}: {_inline(share, known)}." for name, share in zip(bare, shares, strict=True)]
    return [f"    {name}: {_inline(text, known)}" for name in bare]


def _sentence(text: str) -> str:
    """One line, which ends with a period where it ended with what separates items."""
    return re.sub(r"[;,]$", ".", " ".join(text.split()))


def _bare(name: str) -> str:
    return name.partition("(")[0]


def _prose(text: str, known: Known) -> str:
    text = re.sub(r"(?:^|(?<=[.;:)])\s+)(Returns|Raises) (?=[a-zA-Z`])", r"\n\n**\1** ", text).strip("\n")
    return "\n\n".join(_inline(paragraph, known) for paragraph in text.split("\n\n"))


def _inline(text: str, known: Known) -> str:
    """Text with what Markdown would take for markup escaped, and names of the reference linked."""
    pieces = CODE.split(text)
    pieces[::2] = [known.cite(_escaped(piece)) for piece in pieces[::2]]
    pieces[1::2] = [known.link(piece) for piece in pieces[1::2]]
    return "".join(pieces)


def _escaped(text: str) -> str:
    return re.sub(r"(?<!\*)\*(?!\*)", r"\\*", text).replace("<", "&lt;")
