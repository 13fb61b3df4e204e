"""What MkDocs reads beside mkdocs.yml: pages for files outside docs/, their links, and names of the reference."""

import html
import logging
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File

from docs.site.names import public
from docs.site.repository import ROOT, links_of, page_of, relinked, site_path

ENTRY = re.compile(r"^::: (\S+)\n?((?:    .*\n)*)", re.MULTILINE)
FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\([(\[])(.*?)\\[)\]](</\2>)', re.DOTALL)
INLINE = re.compile(r"\\\((.*?)\\\)")
BAR = re.compile(r"<mo(?=[^>]*>(?:&#x0007C;|\|))")  # a bar has no space of its own, whichever side it stands on
log = logging.getLogger("mkdocs.plugins.site")
sources: dict[str, str] = {}  # where the site shows a page: the file of the repository


def on_files(files: Any, *, config: Any) -> Any:
    """Adds what pages of docs/ link to: READMEs, notebooks with their outputs, sources, pictures, figures."""
    sources.clear()
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(waiting)
    while waiting:
        file = waiting.pop()
        text, pictures = page_of(file)
        shown = site_path(file)
        sources[shown] = file
        if not file.startswith("docs/"):
            files.append(File.generated(config, shown, content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, str(Path(shown).parent / name), content=content))
        linked = {goal for goal in links_of(text, file) if _is_added(goal, config)} - seen
        seen |= linked
        waiting += [goal for goal in sorted(linked) if site_path(goal).endswith(".md")]
        for goal in sorted(linked):
            if not site_path(goal).endswith(".md"):
                files.append(File.generated(config, site_path(goal), abs_src_path=str(ROOT / goal)))
    return files


def _is_added(file: str, config: Any) -> bool:
    if file.startswith("docs/") or not (ROOT / file).is_file():
        return False
    # With an address sources are shown there, but pictures are shown here all the same.
    return not (config.extra["repository"] and site_path(file).startswith("source/")) or file.endswith(".png")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Links lead to where the site shows what they name; `::: ll.Name` to where the name is defined."""
    file = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    # GitHub opens a fence of mathematics by its name alone, and so does the site; see mkdocs.yml.
    text = relinked(markdown, file, config.extra["repository"])
    return ENTRY.sub(_entry, text)


def _entry(found: re.Match[str]) -> str:
    path, options = found[1], found[2]
    where = public().get(path, path)  # an unknown name is left to mkdocstrings, which warns
    heading = f"      heading: {path}\n      toc_label: {path.removeprefix('ll.')}\n"
    return f"::: {where}\n" + (options or "    options:\n") + heading + "\n"


def on_page_content(content: str, *, page: Any, **_: Any) -> str:
    """Formulas as MathML, in the text and in the table of contents."""
    waiting = list(page.toc)
    for item in waiting:
        item.title = INLINE.sub(lambda found: _mathml(found[1], page, "inline"), item.title)
        waiting.extend(item.children)

    def shown(found: re.Match[str]) -> str:
        start, _, mark, formula, end = found.groups()
        return start + _mathml(formula, page, "block" if mark == "[" else "inline") + end

    return FORMULA.sub(shown, content)


def _mathml(formula: str, page: Any, display: str) -> str:
    """A formula as MathML; one that cannot be read is a warning."""
    numbered = re.sub(r"\\tag\{(.*?)\}", r"\\qquad(\1)", html.unescape(formula))
    try:
        return BAR.sub('<mo lspace="0" rspace="0"', convert(numbered, display=display))
    except Exception as error:  # noqa: BLE001  # whatever a formula is wrong with, the page names it
        log.warning("Formula of %s is not LaTeX: %s: %r", page.file.src_uri, formula, error)
        return html.escape(formula)
