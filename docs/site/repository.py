"""Pages and links between what the repository holds and what the site shows: one path for one file."""

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
# Files outside docs/ that are pages of the site; notebooks are pages too.
PAGES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "notebooks/README.md": "notebooks/index.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "lagrangian_learning/data/README.md": "recordings.md",
}
FENCES = {".py": "python", ".c": "c", ".toml": "toml"}
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
SHOWN = re.compile(r"(^ *(```|~~~).*?^ *\2[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def site_path(file: str) -> str:
    """Where the site shows a file of the repository, as the path of its source."""
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    if file in PAGES:
        return PAGES[file]
    if file.startswith("notebooks/"):  # their pictures stand beside them
        return file.removesuffix(".ipynb") + (".md" if file.endswith(".ipynb") else "")
    return f"source/{file}" + (".md" if Path(file).suffix in FENCES else "")


def target(link: str, page: str) -> tuple[str, str] | None:
    """(file, anchor) of the repository that a link on a page leads to; None: it leads elsewhere, or on the page."""
    if "://" in link or link.startswith(("#", "mailto:", "data:")):
        return None
    path, _, anchor = link.partition("#")
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)), anchor


def relinked(text: str, page: str, address: str) -> str:
    """The text of a page with its links to files of the repository leading to where the site shows them.

    address: of the repository on the web, before the path of a file; "": sources are pages of the site.
    """

    def moved(found: re.Match[str]) -> str:
        goal = target(found[2], page)
        if goal is None:
            return found[0]
        file, anchor = goal
        shown = site_path(file)
        if address and shown.startswith("source/") and not found[0].startswith("!"):
            return f"{found[1]}{address}/{file}{found[3]}"
        place = posixpath.relpath(shown, posixpath.dirname(site_path(page)) or ".")
        return found[1] + quote(place) + (f"#{anchor}" if anchor else "") + found[3]

    # A link may have code for its text: code is hidden from the expression, and comes back after.
    return _hiding_code(text, lambda prose: LINK.sub(moved, prose))


def _hiding_code(text: str, change: Any) -> str:
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found[0])
        return f"\x00{len(hidden) - 1}\x00"

    changed = change(SHOWN.sub(hide, text))
    return re.sub("\x00(\\d+)\x00", lambda found: hidden[int(found[1])], changed)


def links_of(text: str, page: str) -> set[str]:
    """The files of the repository that a page links to."""
    found: set[str] = set()

    def note(match: re.Match[str]) -> str:
        goal = target(match[2], page)
        found.update([] if goal is None else [goal[0]])
        return match[0]

    _hiding_code(text, lambda prose: LINK.sub(note, prose))
    return found


def page_of(file: str) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a file of the repository, and the pictures that belong to it, by their names."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        return _notebook(json.loads(text), Path(file).stem)
    if file.endswith(".md"):
        return text, {}
    # Sources are for links to lead to: a search that finds them hides the pages.
    return f"---\nsearch:\n  exclude: true\n---\n\n# {file}\n\n````{FENCES[Path(file).suffix]}\n{text}````\n", {}


def _displayed(block: str) -> str:
    """A block with its displayed formulas as lines of their own: in a paragraph Markdown knows inline ones alone."""
    if re.fullmatch(r"\s*\$\$[^$]*\$\$\s*", block):
        return block
    numbered = re.sub(r"\\tag\{(.*?)\}(?=\s*\$\$)", r"\\qquad(\1)", block)
    return re.sub(r"\s*\$\$\s*([^$]*?)\s*\$\$", r"<br>$\\displaystyle \1$<br>", numbered)


def _notebook(notebook: Any, stem: str) -> tuple[str, dict[str, bytes]]:
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append("\n\n".join(_displayed(block) for block in source.split("\n\n")))
            continue
        parts.append(f"````python\n{source}\n````")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![output of the cell above]({name})")
            elif "text/latex" in data:
                parts.append("$" + "".join(data["text/latex"]).replace(r"\displaystyle", "").strip() + "$")
            elif "text/markdown" in data:
                parts.append("".join(data["text/markdown"]))
            else:
                shown = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"````text\n{shown.rstrip()}\n````")
    return "\n\n".join(parts) + "\n", pictures
