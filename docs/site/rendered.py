"""What is broken in the pages of a built site: links, pictures, and markup that was left as text."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What is left in a text when Markdown, mkdocstrings, mkdocs-autorefs or arithmatex did not take it.
LEFT = {
    "a reference that is not resolved": re.compile(r"\]\[[\w.]*\]"),
    "a link that is not rendered": re.compile(r"\[[^\]\n]+\]\((?:\.\./|https?:)[^)\n]+\)"),
    "an entry of the reference that is not rendered": re.compile(r"^::: \w", re.MULTILINE),
    "a formula that is not rendered": re.compile(r"\$\$|(?<!\\)\\(?:frac|tfrac|sum|int|dot|begin)\b"),
    "a section that is not rendered": re.compile(r"^(?:Args|Arguments|Fields):$", re.MULTILINE),
}
# Whose text is shown as it is.
SHOWN = {"code", "pre", "script", "style"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """The links, anchors and plain text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text: list[str] = []
        self.formulas = 0
        self._open: list[tuple[str, bool]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what a tag links to, and whether its text is shown as it is."""
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        formula = "arithmatex" in (given.get("class") or "")
        self.formulas += formula
        if tag not in VOID:
            self._open.append((tag, formula or tag in SHOWN))

    def handle_endtag(self, tag: str) -> None:
        """Closes the innermost such tag."""
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Keeps text that Markdown should have read."""
        if not any(shown for _, shown in self._open):
            self.text.append(data)


def faults(site: Path) -> Iterator[str]:
    """Everything broken, a line each."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        name = file.relative_to(site)
        text = "".join(page.text)
        yield from (f"{name}: {what}: {found[0]}" for what, form in LEFT.items() for found in form.finditer(text))
        for link in dict.fromkeys(page.links):
            if file.name != "404.html" and not _leads(link, file, site, pages):
                yield f"{name}: leads nowhere: {link}"


def _leads(link: str, file: Path, site: Path, pages: dict[Path, Page]) -> bool:
    """Whether a link leads to a file of the site, and to an anchor on it; what is elsewhere is not asked."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    goal = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    goal = goal / "index.html" if goal.is_dir() else goal
    anchor = unquote(parts.fragment)
    if not goal.is_relative_to(site.resolve()) or not goal.is_file():
        return False
    return not anchor or goal not in pages or anchor in pages[goal].anchors or anchor.startswith("__")
