"""Executes notebooks: `python notebooks/execute.py 01 05` from their scripts 01_….py and 05_….py; no number: all.

Cells get their place as id, no times of execution are kept, and pictures are reduced to 128 colours: so a notebook
stays small, and changes only where its contents do.
"""

import base64
import io
import os
import pathlib
import sys

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
COLOURS = 128


def execute(script: pathlib.Path) -> None:
    """Writes NN_name.ipynb beside NN_name.py, with its outputs so far where a cell raises."""
    notebook = nbformat.from_dict(jupytext.read(script))
    settings = {"timeout": 900, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    try:
        NotebookClient(notebook, resources={"metadata": {"path": FOLDER}}, **settings).execute()
    finally:
        jupytext.write(tidy(notebook), script.with_suffix(".ipynb"))


def tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run."""
    notebook.metadata["language_info"] = {"name": "python"}
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    return notebook


def smaller(png: str) -> str:
    """The same picture with a palette, in base64."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    reduced = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(reduced, "png", optimize=True)
    return base64.b64encode(reduced.getvalue()).decode("ascii")


if __name__ == "__main__":
    # Threads of OpenBLAS that outnumber the cores stall small factorisations for seconds.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for number in sys.argv[1:] or ["[0-9][0-9]"]:
        for script in sorted(FOLDER.glob(f"{number}_*.py")):
            print(script.name, flush=True)
            execute(script)
