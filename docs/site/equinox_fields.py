"""A griffe extension: fields of Equinox modules as constructor parameters, and this project's docstrings.

Equinox makes the `__init__` of a module out of its fields, as dataclasses do, which reading the source does not show:
the arguments that a class docstring lists would be unknown to a strict build.
"""

import ast
import re
from pathlib import Path
from typing import Any

import griffe

from docs.site.docstrings import Known, rewritten
from docs.site.names import public

POSITIONAL = griffe.ParameterKind.positional_or_keyword
# Whose subclasses are dataclasses: griffe reads no other package, so that they are known by name.
MAKERS = ("equinox.", "diffrax.", "typing.NamedTuple")
ABSTRACT = {"AbstractVar", "AbstractClassVar", "ClassVar"}
THEORY = Path(__file__).parents[1] / "theory.md"


class EquinoxFields(griffe.Extension):
    """Gives every class of the package its constructor, and every docstring the form that griffe reads."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called by griffe once the package is loaded."""
        link = Links()
        objects = list(_objects(pkg))
        for obj in objects:
            if isinstance(obj, griffe.Class) and "__init__" not in obj.members and _is_module(obj):
                _give_constructor(obj)
            if isinstance(obj, griffe.Class) and obj.name == "RESULTS":
                _explain_codes(obj)
        for obj in objects:
            if obj.docstring is not None:
                obj.docstring.value = rewritten(obj.docstring.value, _known(obj, link))


def _objects(parent: Any) -> Any:
    for member in list(parent.members.values()):
        if not member.is_alias:
            yield member
            yield from _objects(member)


def _explain_codes(results: griffe.Class) -> None:
    """The message of a result code is what there is to say of it."""
    for code in results.members.values():
        if isinstance(code, griffe.Attribute) and code.value is not None:
            code.docstring = griffe.Docstring(ast.literal_eval(f"({code.value})"), parent=code)
            code.value = None


def _family(cls: griffe.Class) -> list[griffe.Class]:
    return [cls, *cls.mro()]


def _is_module(cls: griffe.Class) -> bool:
    bases = (getattr(base, "canonical_path", str(base)) for parent in _family(cls) for base in parent.bases)
    return any(base.startswith(MAKERS) for base in bases)


def _give_constructor(cls: griffe.Class) -> None:
    """A signature, unless nobody but the library makes the object: it is abstract, or its docstring lists records."""
    text = cls.docstring.value if cls.docstring else ""
    fields = {name: field for parent in reversed(_family(cls)) for name, field in _fields(parent).items()}
    listed = [line.partition(":")[0].split(", ")[0] for line in text.splitlines()]
    recorded = any(name in cls.all_members for name in listed) and not re.search(r"^Arguments?:", text, re.MULTILINE)
    if cls.name.startswith("Abstract") or recorded or not fields:
        return
    of_self = griffe.Parameter("self", kind=POSITIONAL)
    parameters = griffe.Parameters(of_self, *fields.values())
    cls.set_member("__init__", griffe.Function("__init__", parameters=parameters, parent=cls))


def _fields(cls: griffe.Class) -> dict[str, griffe.Parameter]:
    found = {}
    for name, member in cls.members.items():
        if not isinstance(member, griffe.Attribute) or member.annotation is None or "property" in member.labels:
            continue
        constant = "class-attribute" in member.labels and "instance-attribute" not in member.labels
        annotation = str(member.annotation).split("[")[0].rsplit(".", 1)[-1]
        if not constant and annotation not in ABSTRACT and not name.startswith("_"):
            default = _default(member.value)
            found[name] = griffe.Parameter(name, annotation=member.annotation, kind=POSITIONAL, default=default)
    return found


def _default(value: Any) -> Any:
    """The default of a field as its user meets it: of `eqx.field(…)` the one inside, "..." for a factory."""
    if not isinstance(value, griffe.ExprCall) or not value.canonical_path.endswith(".field"):
        return value
    given = {argument.name: argument.value for argument in value.arguments if isinstance(argument, griffe.ExprKeyword)}
    return "..." if "default_factory" in given else given.get("default")


def _known(obj: Any, link: "Links") -> Known:
    members = set(obj.all_members) if isinstance(obj, griffe.Class) else set()
    parameters = {parameter.name for parameter in getattr(obj, "parameters", ())} - {"self"}
    return Known(parameters, members, link.to(obj.path), link.cite)


class Links:
    """Links from docstrings to the reference and to sections of the theory, resolved by mkdocs-autorefs."""

    def __init__(self) -> None:
        self.names = dict(public())
        for path, where in public().items():
            name = path.rsplit(".", 1)[1]
            if name[0].isupper() or "_" in name or name == "simulate":
                self.names[name] = where
        titles = re.findall(r"^## ((\d+)\. .+)$", THEORY.read_text(encoding="utf-8"), re.MULTILINE)
        self.sections = {number: re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title, number in titles}

    def to(self, own: str) -> Any:
        """The links of one docstring, which has none to its own object."""

        def linked(text: str) -> str:
            where = self.names.get(text.strip("`").partition("(")[0])
            return text if where is None or where == own else f"[{text}][{where}]"

        return linked

    def cite(self, text: str) -> str:
        """The text, its citations of the theory made links."""

        def section(found: re.Match[str]) -> str:
            return f"[{found[0]}][{self.sections[found[1]]}]"

        return re.sub(r"docs/theory\.md\s+§(\d+)", section, text)
