"""What the text of a compiled program shows: launches of its loops, bytes that its values cover, registers and spills.

    tree = loops(compiled.as_text())           # from optimised HLO
    covered(buffer_assignment, color=0)        # from what --xla_dump_to leaves
    kernels(subprocess.run([ptxas, "-v", …]).stderr)

A launch is an operation of optimised HLO that a device starts as one: a fusion, a product, a copy, a call of a library.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# What starts nothing: names for values, and operations whose work stands in the computations that they call.
_NAMES = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "partition-id"}
_CALLS = {"while", "call", "conditional"}

_COMMENT = re.compile(r"/\*.*?\*/")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"^([\w\-]+)\(")
_CALLED = re.compile(
    r"\b(body|condition|to_apply|branch_computations|true_computation|false_computation)=(?:\{([^}]*)\}|([^,\s]+))"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_ORIGIN = re.compile(r'op_name="([^"]*)"')


class Instruction(NamedTuple):
    """One line of HLO: name, type with its layout, opcode, and all that follows the opcode."""

    name: str
    type: str
    opcode: str
    rest: str

    @property
    def scalar(self) -> bool:
        """Whether the result is one number."""
        return "[]" in self.type and not self.type.startswith("(")

    def called(self, *roles: str) -> list[str]:
        """The computations that it calls in these roles."""
        found = [several or one for role, several, one in _CALLED.findall(self.rest) if role in roles]
        return [name.strip().lstrip("%") for names in found for name in names.split(",")]


class Loop(NamedTuple):
    """A loop of a compiled program.

    origin: its op_name, where in the traced program it comes from. trips: how often it turns, None: not known before.
    launches: of one turn, condition included, and of loops inside whose trips are known, times those.
    nested: the loops inside whose trips are not known.
    """

    origin: str
    trips: int | None
    launches: int
    nested: tuple["Loop", ...]

    @property
    def all_launches(self) -> int:
        """Of one turn in which every loop inside turns once."""
        return self.launches + sum(loop.all_launches for loop in self.nested)


class Kernel(NamedTuple):
    """A kernel as `ptxas -v` reports it: bytes spilled are those stored and those loaded again."""

    name: str
    registers: int
    spilled: int


class Program:
    """The computations of optimised HLO, by name.

    scalar_unit: whether single numbers are computed beside the kernels, as on a TPU, so that they start none.
    """

    def __init__(self, hlo: str, *, scalar_unit: bool = False) -> None:
        self.scalar_unit = scalar_unit
        self.computations, self.entry = _computations(hlo)

    def loops(self) -> tuple[Loop, ...]:
        """The outermost loops, those with a known number of turns among them."""
        return tuple(self._loops(self.entry))

    def _loops(self, name: str) -> Iterator[Loop]:
        for one in self.computations[name]:
            if one.opcode == "while":
                yield self._loop(one)
            elif one.opcode in _CALLS:
                for called in one.called("to_apply", "branch_computations", "true_computation", "false_computation"):
                    yield from self._loops(called)

    def _loop(self, one: Instruction) -> Loop:
        trips, origin = _TRIPS.search(one.rest), _ORIGIN.search(one.rest)
        launches, nested = 0, []
        for part in one.called("body", "condition"):
            launches += self._launches(part)
            for loop in self._loops(part):
                if loop.trips is None:
                    nested.append(loop)
                else:
                    launches += loop.trips * loop.launches
                    nested += loop.nested
        known = None if trips is None else int(trips.group(1))
        return Loop("" if origin is None else origin.group(1), known, launches, tuple(nested))

    def _launches(self, name: str) -> int:
        """Outside loops; of the branches of a choice the longest."""
        count = 0
        for one in self.computations[name]:
            count += self._starts(one)
            if one.opcode == "call":
                count += sum(map(self._launches, one.called("to_apply")))
            elif one.opcode == "conditional":
                branches = one.called("branch_computations", "true_computation", "false_computation")
                count += max(map(self._launches, branches), default=0)
        return count

    def _starts(self, one: Instruction) -> bool:
        """Whether it is a launch; of operations in two halves the first is."""
        if one.opcode in _NAMES | _CALLS or one.opcode.endswith("-done") or "AllocateBuffer" in one.rest:
            return False
        return not (self.scalar_unit and one.scalar and one.opcode != "fusion")


def covered(assignment: str, color: int = 0) -> int:
    """The bytes of temporaries that values cover, in one memory space of XLA's buffer assignment.

    Values that share a place count once; the room that is left between two places, so that each begins at a multiple of
    the device's alignment, does not count.
    """
    total = 0
    for header, values in _allocations(assignment):
        space = re.search(r"color (\d+)", header)
        if "preallocated-temp" not in header or (int(space.group(1)) if space else 0) != color:
            continue
        end = 0
        for start, stop in sorted((o, o + s) for s, o in values):
            total += max(0, stop - max(start, end))
            end = max(end, stop)
    return total


def parameter_bytes(assignment: str) -> dict[int, int]:
    """The bytes that each parameter takes on the device, its padding to whole tiles included."""
    found = (re.search(r"size (\d+),.* parameter (\d+),", header) for header, _ in _allocations(assignment))
    return {int(one.group(2)): int(one.group(1)) for one in found if one is not None}


def kernels(report: str) -> list[Kernel]:
    """The kernels of which `ptxas -v` reports."""
    parts = re.split(r"Compiling entry function '", report)[1:]
    return [_kernel(part) for part in parts]


def _kernel(part: str) -> Kernel:
    registers = re.search(r"Used (\d+) registers", part)
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", part)
    if registers is None or not spills:
        raise ValueError(f"ptxas reports no registers or spills: {part[:200]}")
    return Kernel(part.split("'", maxsplit=1)[0], int(registers.group(1)), sum(map(int, spills)))


def _allocations(assignment: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """The first line of every allocation, and (size, offset) of its values."""
    for part in re.split(r"^allocation ", assignment, flags=re.MULTILINE)[1:]:
        header, _, rest = part.partition("\n")
        lines = rest.split("\n\n")[0]
        yield header, [(int(s), int(o)) for s, o in re.findall(r"\(size=(\d+),offset=(\d+)\)", lines)]


def _computations(hlo: str) -> tuple[dict[str, list[Instruction]], str]:
    found: dict[str, list[Instruction]] = {}
    entry = here = ""
    for line in hlo.splitlines():
        clean = _COMMENT.sub("", line)
        head = _HEAD.match(clean)
        if head:
            here = head.group(2)
            found[here] = []
            entry = here if head.group(1) else entry
        elif here and (one := _INSTRUCTION.match(clean)):
            found[here].append(_instruction(*one.groups()))
    if not entry:
        raise ValueError("this is no HLO module: it has no entry computation.")
    return found, entry


def _instruction(name: str, text: str) -> Instruction:
    """`text` is a type, which may be a tuple and hold layouts, and an opcode with its operands."""
    end = _closing(text) if text.startswith("(") else text.index(" ")
    rest = text[end:].lstrip()
    opcode = _OPCODE.match(rest)
    if opcode is None:
        raise ValueError(f"no opcode in this line of HLO: {name} = {text[:200]}")
    return Instruction(name, text[:end], opcode.group(1), rest)


def _closing(text: str) -> int:
    """Where the parenthesis that opens the text is closed."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return place + 1
    raise ValueError(f"a parenthesis is never closed: {text[:200]}")
