"""How programs of tests are compiled: most run once, and what they cost is their compiling.

Without LLVM's optimisations, with XLA's older writers of fused loops and in one piece, a program is compiled in less
than half the processor's time. What it computes is the same to rounding. TESTS_OPTIMISED=1 compiles all as users do.
"""

import importlib.metadata
import os

_FLAGS = "--xla_cpu_parallel_codegen_split_count=1"
if importlib.metadata.version("jaxlib").startswith("0.10."):
    # Known to this XLA; that of jaxlib 0.12 has the new writers alone, and ends a process for a flag it does not know.
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
_LEVEL = "JAX_DISABLE_MOST_OPTIMIZATIONS"


def make_quick() -> None:
    """From here on, in this process and those that it starts; before JAX is imported."""
    if "TESTS_OPTIMISED" not in os.environ:
        os.environ.update(in_full(), **{_LEVEL: "1"})
        os.environ["XLA_FLAGS"] = f"{_FLAGS} {os.environ.get('XLA_FLAGS', '')}"


def in_full() -> dict[str, str]:
    """The environment of a process whose programs are compiled as users' are."""
    environment = {name: value for name, value in os.environ.items() if name != _LEVEL}
    flags = environment.pop("XLA_FLAGS", "").replace(_FLAGS, "").strip()
    return environment | {"XLA_FLAGS": flags} if flags else environment
