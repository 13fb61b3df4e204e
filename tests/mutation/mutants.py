"""The mutants of a module: small changes of its code, none of which touches docstrings, annotations or messages."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
ANNOTATIONS = {"annotation", "returns", "decorator_list", "bases", "type_params"}


class Mutant(NamedTuple):
    """One replacement of a stretch of a file; `inside` is whether it lies in the body of a function."""

    file: str
    line: int
    statement: int
    column: int
    operator: str
    before: str
    after: str
    begin: int
    end: int
    inside: bool

    @property
    def key(self) -> str:
        """A name that stays when lines are added above."""
        return f"{self.file}:{self.line}:{self.column} {self.operator}: {self.before} -> {self.after}"

    def applied(self, source: bytes) -> bytes:
        return source[: self.begin] + self.after.encode() + source[self.end :]


class _Place(NamedTuple):
    """Where a node stands; arguments of the type that the function returns come first."""

    statement: int
    inside: bool
    arguments: tuple[str, ...]
    assigned: frozenset[str]


def mutants_of(path: Path, name: str) -> list[Mutant]:
    """All mutants of a file, in the order of its lines."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = {}
    for node, operator, after, place in _changes(ast.parse(source), _Place(0, False, (), frozenset())):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = source[begin:end].decode()
        if " ".join(before.split()) != after:
            mutant = Mutant(
                name, node.lineno, place.statement, node.col_offset, operator, before, after, begin, end, place.inside
            )
            found[begin, end, after] = mutant
    return sorted(found.values(), key=lambda mutant: (mutant.begin, mutant.end, mutant.after))


def _changes(node: ast.AST, place: _Place) -> Iterator[tuple[Any, str, str, _Place]]:
    if isinstance(node, ast.stmt):
        place = place._replace(statement=node.lineno)
    if _is_left_alone(node):
        return
    for operator, after in _at_statement(node, place) if isinstance(node, ast.stmt) else _at(node):
        text = after if isinstance(after, str) else ast.unparse(ast.fix_missing_locations(after))
        yield node, operator, text if isinstance(node, ast.stmt) else f"({text})", place
    if isinstance(node, ast.Raise):
        return
    if isinstance(node, ast.If | ast.While) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield node.test, "negation", f"(not {ast.unparse(node.test)})", place
    for field, value in ast.iter_fields(node):
        if field in ANNOTATIONS:
            continue
        there = _within(node, field, place)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _changes(child, there)
                there = there._replace(assigned=there.assigned | _names_set_by(child))


def _is_left_alone(node: ast.AST) -> bool:
    """Messages, docstrings, imports; asserts and `strict=`, which say what has been checked elsewhere."""
    if isinstance(node, ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _within(node: ast.AST, field: str, place: _Place) -> _Place:
    if not (isinstance(node, FUNCTIONS) and field == "body"):
        return place
    given = [each for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if each.arg != "self"]
    result = ast.unparse(node.returns) if getattr(node, "returns", None) else None
    given.sort(key=lambda each: each.annotation is None or ast.unparse(each.annotation) != result)
    named = tuple(each.arg for each in given)
    return _Place(place.statement, place.inside or not isinstance(node, ast.Lambda), named, frozenset(named))


def _names_set_by(node: ast.AST) -> frozenset[str]:
    return frozenset(
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    )


def _at(node: ast.AST) -> Iterator[tuple[str, ast.AST | str]]:
    """The changes of an expression, its parts left as they are."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in ARITHMETIC and not _is_text_or_type(left, right):
            yield "arithmetic", ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.Compare(left, [op], rights):
            for other in COMPARISONS[type(op)]:
                yield "comparison", ast.Compare(left, [other()], rights)
        case ast.Constant(value):
            for other in _near(value):
                yield "constant", repr(other)
        case ast.UnaryOp(op, operand):
            yield "unary minus" if isinstance(op, ast.USub) else "negation", operand
        case ast.BoolOp(op, values):
            yield "negation", ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.IfExp(test, body, orelse):
            yield "branches", ast.IfExp(test, orelse, body)
        case ast.Call():
            yield from _at_call(node)


def _near(value: object) -> tuple:
    match value:
        case bool():
            return (not value,)
        case int():
            return value + 1, value - 1
        case float():
            return value * 2, value / 2
    return ()


def _is_text_or_type(left: ast.expr, right: ast.expr) -> bool:
    """Whether operands are strings, or classes: X | None."""

    def found(node: ast.expr) -> bool:
        if isinstance(node, ast.BinOp):
            return found(node.left) or found(node.right)
        text = isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | None)
        )
        return text or ast.unparse(node).split(".")[-1][:1].isupper()

    return found(left) or found(right)


def _at_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name = ast.unparse(node.func)
    if name.split(".")[-1] in {"where", "cond", "select"} and len(node.args) >= 3:
        test, yes, no, *rest = node.args
        yield "branches", ast.Call(node.func, [test, no, yes, *rest], node.keywords)
    for number, keyword in enumerate(node.keywords):
        if keyword.arg not in {None, "strict"}:
            yield "keyword", ast.Call(node.func, node.args, node.keywords[:number] + node.keywords[number + 1 :])


def _at_statement(node: ast.stmt, place: _Place) -> Iterator[tuple[str, ast.AST | str]]:
    match node:
        case ast.Return(value) if value is not None and not isinstance(value, ast.JoinedStr):
            for name in place.arguments:
                if ast.unparse(value) != name:
                    yield "return", f"return {name}"
                    break
        case ast.Raise() | ast.AugAssign() | ast.Expr(ast.Call()):
            yield "statement", "pass"
        case ast.Assign([ast.Name(name)]) if place.inside and name in place.assigned:
            yield "statement", "pass"
