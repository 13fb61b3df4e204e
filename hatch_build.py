"""README for pages outside the repository, where its relative links and its picture lead nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

NOTE = "Paths in parentheses are files of the source distribution.\n\n"


class ReadmeHook(MetadataHookInterface):
    """Sets the description of the distribution."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds `readme`."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": standing_alone(text)}


def standing_alone(text: str) -> str:
    """Without its picture; equations as blocks of text; a link to a file is its words and the path in parentheses.

    Should the project get an address, links can lead there instead.
    """
    title, rest = text.split("\n", 1)
    rest = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\s*", "", rest)
    rest = re.sub(r"\$\$(.+?)\$\$", r"```text\n\1\n```", rest, flags=re.DOTALL)
    rest = re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", rest)
    rest = re.sub(r"\[([^\]]+)\]\((?!https?:)([^)#]+)[^)]*\)", _words, rest)
    rest = rest.replace(
        " The picture is one\nsuch motion on recorded speech, made by the first command under Try it.", ""
    )
    return f"{title}\n\n{NOTE}{rest.lstrip()}"


def _words(link: re.Match[str]) -> str:
    words, path = link[1], link[2]
    return words if words.strip("`") in path else f"{words} (`{path}`)"
