"""What did every benchmark find, in one line each?

Rewrites the tables in benchmarks/README.md, docs/performance.md, docs/scale.md and docs/accelerators.md from the JSON
files in benchmarks/results: a figure in a text is then one that was measured. A script reports its figure as
`headline`.

    python benchmarks/index.py
"""

import json
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
COMPILED = "<!-- scale_compiled: begin -->", "<!-- scale_compiled: end -->"
DOCS = HERE.parent / "docs"
SCALE, ACCELERATORS = DOCS / "scale.md", DOCS / "accelerators.md"
PAGES = {HERE / "README.md": "", DOCS / "performance.md": "../benchmarks/"}


def records():
    """(name, record) of every result that has a headline, by name."""
    for path in sorted((HERE / "results").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "headline" in record:
            yield path.stem, record


def table(prefix):
    """Question, figure and command of every benchmark; links are relative to the page."""
    lines = ["| question | measured | script |", "|---|---|---|"]
    for name, record in records():
        verdict = "" if not record.get("missed") else " **misses a threshold**"
        links = f"[`{name}.py`]({prefix}{name}.py), [figures]({prefix}results/{name}.json)"
        picture = f", [picture]({prefix}results/{name}.png)" if (HERE / "results" / f"{name}.png").exists() else ""
        lines.append(f"| {record['question']} | {record['headline']}{verdict} | {links}{picture} |")
    return "\n".join(lines)


def rewritten(text, prefix):
    """The page with its table made anew."""
    return _between(text, table(prefix))


def scale_rewritten(text):
    """docs/scale.md with its table made anew: what `ll.estimate` predicted beside what was measured."""
    points = json.loads((HERE / "results" / "scale.json").read_text(encoding="utf-8"))["points"]
    head = ["network", "weights", "lanes", "step, predicted", "measured", "ratio"]
    lines = [_row(head), _row(["---"] * len(head))]
    for p in points:
        times = _scaled(p["predicted_seconds_a_step"], "s"), _scaled(p["seconds_a_step"], "s"), f"{p['ratio']:.2f}"
        lines.append(_row([p["network"], f"{p['weights']:,}", f"{p['lanes']:,}", *times]))
    text = _between(text, compiled_table(), COMPILED)
    return _between(text, "\n".join(lines))


def accelerators_rewritten(text):
    """docs/accelerators.md with its table made anew: every law as compiled for devices that were not there, and the
    budgets that it misses.
    """
    record = json.loads((HERE / "results" / "device_gates.json").read_text(encoding="utf-8"))
    rows = {name: {_compiled(row): row for row in found["rows"]} for name, found in record["targets"].items()}
    head = ["law", "system", "program", "operations", "bytes", "launches a step, v5e", "sm_90a"]
    head += ["temporaries in states, v5e", "sm_90a", "registers", "spilled bytes"]
    lines = [_row(head), _row(["---"] * len(head))]
    for key in dict.fromkeys(key for found in rows.values() for key in found):
        law, system, dtype, program = key
        tpu, gpu = rows.get("tpu", {}).get(key), rows.get("cuda", {}).get(key)
        what = program if dtype == "float32" else f"{program}, {dtype}"
        row = tpu or gpu
        work = _scaled(row["operations"], ""), _scaled(row["bytes"], "B")
        states = ("–" if one is None else f"{one['temporaries in states']:.3g}" for one in (tpu, gpu))
        kernels = ("–", "–") if gpu is None else (gpu["registers"], sum(gpu["spilled bytes"].values()))
        lines.append(
            _row(
                [law, system, what, *map(str.strip, work), _launches(tpu), _launches(gpu), *states, *map(str, kernels)]
            )
        )
    lines += ["", "Budgets missed:", "", *(f"* {one}" for one in record["missed"])]
    return _between(text, "\n".join(lines))


def _compiled(row):
    return tuple(row[name] for name in ("law", "network", "dtype", "program"))


def _launches(row):
    """Of a step, and of the loops inside it whose turns are not known: 60 + 2 × 11 each turn."""
    if row is None:
        return "–"
    inside = [
        f"{n} × {size}" if n > 1 else f"{size}"
        for size, n in sorted(Counter(row["launches an iteration"]).items(), reverse=True)
    ]
    return " + ".join([str(row["launches a step"]), *inside])


def compiled_table():
    """What `ll.estimate` predicted over what XLA says of the compiled run."""
    found = json.loads((HERE / "results" / "scale_compiled.json").read_text(encoding="utf-8"))["rows"]
    head = ["law", "network", "weights", "lanes", "chunk", "stepper", "dtype", "memory, XLA", "predicted over it"]
    head += ["bytes of an evaluation", "predicted over it", "operations", "predicted over it"]
    lines = [_row(head), _row(["---"] * len(head))]
    for r in found:
        given = [r["law"], r["network"], f"{r['weights']:,}", f"{r['lanes']:,}", _chunk(r), r["stepper"], r["dtype"]]
        amounts = {name: _scaled(r[name], unit) for name, unit in (("memory", "B"), ("bytes", "B"), ("operations", ""))}
        ratios = {name: f"{ratio:.2f}" for name, ratio in r["ratios"].items()}
        lines.append(_row(given + [cell for name, amount in amounts.items() for cell in (amount, ratios[name])]))
    return "\n".join(lines)


def _chunk(found):
    return f"{found['chunk']:,}, {found['engine']}" if found["engine"] else ""


def _between(text, inside, marks=None):
    begin, end = marks or (BEGIN, END)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{inside}\n{end}{rest.split(end)[1]}"


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _scaled(value, unit):
    """Three digits and a prefix."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}".rstrip()
    return f"{value * 1e6:.3g} µ{unit}"


def main():
    SCALE.write_text(scale_rewritten(SCALE.read_text(encoding="utf-8")), encoding="utf-8")
    ACCELERATORS.write_text(accelerators_rewritten(ACCELERATORS.read_text(encoding="utf-8")), encoding="utf-8")
    for page, prefix in PAGES.items():
        page.write_text(rewritten(page.read_text(encoding="utf-8"), prefix), encoding="utf-8")


if __name__ == "__main__":
    main()
