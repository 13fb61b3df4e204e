"""Bytes that the kernels of a program read and write, elementwise operations being fused into what reads them."""

from collections.abc import Callable

from lagrangian_learning._tuning import FUSED_NUMBERS

from .program import Operation, Program

# What only names the same bytes in another shape or order.
_SAME_BYTES = {"transpose", "reshape", "squeeze", "expand_dims", "stop_gradient", "copy", "split"}
# Of which no more is read than is taken.
_TAKES = {"slice", "dynamic_slice", "gather"}
# Fused into what reads them, but not with what they read.
_AS_ARRAYS = {"pad", "concatenate"}
# Counted by the jaxprs that they hold.
_HELD = {"while", "scan", "cond"}

# Bytes of a value in memory that are read, by its number and by the padding that puts it to a place of its own, if any.
Sources = dict[tuple[int, int | None], int]


class Traffic:
    """A value lies in memory if it is an input, an output, or the result of a kernel. Any other is computed by what
    reads it, from what lies in memory (`sources`), and written itself only where a product needs it as an array.

    total: bytes of all kernels.
    """

    def __init__(self, program: Program, is_kernel: Callable[[str], bool], *, copies: bool) -> None:
        self.program, self.total = program, 0
        self._fused: dict[int, Sources] = {}
        self._shaped: dict[int, int] = {}
        self._written = set(program.inputs)
        self._outputs: dict[int, Sources] = {}
        outputs = set(program.outputs)
        for operation in program.operations:
            self._follow(operation, kernel=is_kernel(operation.name))
            for value in outputs.intersection(operation.results):
                self._outputs[value] = self.sources(value)
                self._write(value)
        if copies:
            handed_on = outputs.intersection(program.inputs)
            self.total += 2 * sum(map(self._counted, handed_on))

    @property
    def held_by_outputs(self) -> int:
        """Bytes of the outputs, and of what lies in memory beside the inputs from which they are computed: whoever
        computes with an output may compute it anew, and keeps both.
        """
        beside = {place: size for sources in self._outputs.values() for place, size in sources.items()}
        known = {*self.program.inputs, *self.program.outputs}
        outputs = sum(map(self.program.num_bytes, set(self.program.outputs)))
        return outputs + sum(size for (value, _), size in beside.items() if value not in known)

    def sources(self, value: int) -> Sources:
        """What is read of memory where the value is computed."""
        return self._fused.get(value, {(value, None): self._counted(value)})

    def _counted(self, value: int) -> int:
        """Arrays of a few numbers move nothing."""
        return self.program.num_bytes(value) if self.program.size(value) > FUSED_NUMBERS else 0

    def _follow(self, operation: Operation, *, kernel: bool) -> None:
        if operation.name in _HELD:
            return
        if operation.name in _AS_ARRAYS:
            self._fused[operation.results[0]] = self._placed(operation)
        elif not kernel:
            read = self._together(operation)
            self._fused.update(dict.fromkeys(operation.results, read))
            if operation.name in _SAME_BYTES:
                self._shaped[operation.results[0]] = operation.operands[0]
        elif operation.name.startswith(("reduce_", "arg", "cum")):  # fused with what it reads
            self.total += _once(self._together(operation)) + sum(map(self._counted, operation.results))
        else:
            read = sum(self._as_array(operand) for operand in dict.fromkeys(operation.operands))
            self.total += read + sum(map(self._counted, operation.results))

    def _together(self, operation: Operation) -> Sources:
        """What an operation reads of memory if it is fused with all that it reads."""
        read: Sources = {}
        most = sum(map(self._counted, operation.results)) if operation.name in _TAKES else None
        for operand in operation.operands:
            for source, size in self.sources(operand).items():
                taken = size if most is None else min(size, most)
                read[source] = max(read.get(source, 0), taken)
        return read

    def _placed(self, operation: Operation) -> Sources:
        """Arrays, which are read with a constant factor as well."""
        read: Sources = {}
        for operand in operation.operands:
            if self.program.size(operand) > FUSED_NUMBERS:
                array = self.program.base(operand)
                read[array, operation.results[0]] = self._as_array(array)
        return read

    def _as_array(self, value: int) -> int:
        """Bytes that a product reads of an operand, which is written before unless it lies in memory."""
        while value in self._shaped and value not in self._written:
            value = self._shaped[value]
        self._write(value)
        return self._counted(value)

    def _write(self, value: int) -> None:
        """What is not in memory yet, once."""
        if value in self._fused and value not in self._written:
            self.total += _once(self._fused.pop(value)) + self._counted(value)
        self._written.add(value)


def _once(sources: Sources) -> int:
    """Bytes of all, wherever they are put to."""
    return sum({value: size for (value, _), size in sources.items()}.values())
