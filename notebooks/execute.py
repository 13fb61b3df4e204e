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


def execute(script: pathlib.Path) -> pathlib.Path:
    """Writes NN_name.ipynb, with outputs, beside NN_name.py; raises where a cell does."""
    notebook = nbformat.from_dict(jupytext.read(script))
    NotebookClient(
        notebook, timeout=900, kernel_name="python3", record_timing=False, resources={"metadata": {"path": FOLDER}}
    ).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    path = script.with_suffix(".ipynb")
    jupytext.write(notebook, path)
    return path


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
            print(execute(script).name, flush=True)
