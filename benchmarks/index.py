"""What did every benchmark find, in one line each?

Rewrites the table in benchmarks/README.md, and the short one in the README beside the package, from the JSON files in
benchmarks/results: a figure in a text is then one that was measured. A script tells its figure as `headline`.

    python benchmarks/index.py
"""

import json
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
PAGES = {HERE / "README.md": "", HERE.parent / "README.md": "benchmarks/"}


def records():
    """(name, record) of every result that tells a headline, by name."""
    for path in sorted((HERE / "results").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "headline" in record:
            yield path.stem, record


def table(prefix):
    """Question, figure and command of every benchmark; links are relative to the page."""
    lines = ["| question | measured | script |", "|---|---|---|"]
    for name, record in records():
        verdict = "" if not record.get("missed") else " **misses a gate**"
        links = f"[`{name}.py`]({prefix}{name}.py), [figures]({prefix}results/{name}.json)"
        picture = f", [picture]({prefix}results/{name}.png)" if (HERE / "results" / f"{name}.png").exists() else ""
        lines.append(f"| {record['question']} | {record['headline']}{verdict} | {links}{picture} |")
    return "\n".join(lines)


def rewritten(text, prefix):
    """The page with its table made anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(prefix)}\n{END}{rest.split(END)[1]}"


def main():
    for page, prefix in PAGES.items():
        page.write_text(rewritten(page.read_text(encoding="utf-8"), prefix), encoding="utf-8")


if __name__ == "__main__":
    main()
