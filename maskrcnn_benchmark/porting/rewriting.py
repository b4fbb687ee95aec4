"""Rewriting a fork's Python file with LibCST: dead names become today's, comments and layout stay."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

try:
    import libcst as cst
    from libcst import matchers
    from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider, QualifiedNameProvider
except ModuleNotFoundError as error:
    raise ImportError(
        'Porting a fork needs LibCST: pip install libcst (or install this package with the extra "port").'
    ) from error

from .rules.names import Moved, Rule

ASYNC = Rule("async=", "async is a keyword since Python 3.7; the argument is called non_blocking.")
_ASYNC_ARGUMENT = re.compile(r"([(,]\s*)async(\s*=(?!=))")


@dataclass(frozen=True)
class Change:
    """A rewritten piece: its line in the fork's file and the code before and after, each in one line."""

    line: int
    rule: Rule
    before: str
    after: str


@dataclass(frozen=True)
class Remark:
    """What a person has to look at, by line of the fork's file."""

    line: int
    text: str


@dataclass
class Rewritten:
    """A file's new text and what was done.

    Attributes:
        error: why the file was left as it is, if it does not parse: (line, message).
    """

    text: str
    changes: list[Change] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    error: tuple[int, str] | None = None


@dataclass(frozen=True)
class Facts:
    """What rules ask about a file and its fork.

    Attributes:
        path: below the fork's root.
        package: the fork's package.
        recent_torch: the fork was written for a torch that divides integers truly (1.5 or later).
    """

    path: str
    package: str
    recent_torch: bool = False


class File:
    """What a rule is given besides the node: names, positions, and where to say what it did."""

    def __init__(self, facts: Facts, wrapper: MetadataWrapper):
        self.facts = facts
        self.module = wrapper.module
        self._names = wrapper.resolve(QualifiedNameProvider)
        self._positions = wrapper.resolve(PositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self.changes: list[Change] = []
        self.remarks: list[Remark] = []
        self.new_imports: dict[str, None] = {}
        self.aliases = _imported_modules(wrapper.module)
        self.memo: dict = {}  # of what rules work out once for a file
        self._used, self._bound = _all_names(wrapper.module)
        self._methods = _all_methods(wrapper.module)

    def names(self, node: cst.CSTNode) -> set[str]:
        """Dotted names that `node` may stand for by the file's imports: np.float -> {"numpy.float"}."""
        if isinstance(node, (cst.Attribute, cst.Call, cst.Subscript)) and not dotted(node):
            return set()  # f(x).y is no name, though LibCST calls it f.y
        found = self._names.get(node, ())
        found = found() if callable(found) else found
        return {name.name for name in found if name.source.name in ("IMPORT", "BUILTIN")}

    def calls(self, node: cst.CSTNode, *names: str) -> bool:
        """Whether `node` is a call of one of these dotted names."""
        return isinstance(node, cst.Call) and not self.names(node.func).isdisjoint(names)

    def uses(self, module: str) -> bool:
        """Whether the file imports this module, or from it, anywhere."""
        return any(name == module or name.startswith(f"{module}.") for name in self._used)

    def defines_method(self, name: str) -> bool:
        """Whether a class in the file has a method of this name: calls of it may mean that one."""
        return name in self._methods

    def is_unbound(self, node: cst.Name) -> bool:
        """Whether this is a name by itself, not a part of another, that nothing in the file binds."""
        parent = self.parent(node)
        if isinstance(parent, cst.Attribute) and parent.attr is node:
            return False
        return not (isinstance(parent, cst.Arg) and parent.keyword is node) and node.value not in self._bound

    def line(self, node: cst.CSTNode) -> int:
        return self._positions[node].start.line

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        return self._parents.get(node)

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)

    def need_import(self, modules: str) -> None:
        """Have the file import these modules (commas between), each under its full name."""
        for module in filter(None, (m.strip() for m in modules.split(","))):
            self.new_imports[module] = None

    def module_name(self, module: str) -> str:
        """What the file calls a module; it is imported if the file does not."""
        if module in self.aliases:
            return self.aliases[module]
        self.need_import(module)
        return module

    def spell(self, target: Moved) -> str:
        """An expression for what moved, its module imported."""
        if target.expression:
            self.need_import(target.module)
            return target.expression
        return ".".join(part for part in (target.module and self.module_name(target.module), target.name) if part)

    def changed(self, rule: Rule, original: cst.CSTNode, new: cst.CSTNode | str) -> None:
        after = new if isinstance(new, str) else self.code(new)
        self.changes.append(Change(self.line(original), rule, one_line(self.code(original)), one_line(after)))

    def remark(self, node: cst.CSTNode, text: str) -> None:
        self.remarks.append(Remark(self.line(node), text))


# Given the file, the node as it was, and the node with its parts rewritten; returns what takes its place.
NodeRule = Callable[[File, Any, Any], Any]


class _Transformer(cst.CSTTransformer):
    """Applies each rule to the kinds of node that it is registered for, in one pass from the leaves up."""

    def __init__(self, file: File, rules: Sequence[tuple[type, NodeRule]]):
        super().__init__()
        self.file = file
        self.rules: dict[type, list[NodeRule]] = {}
        for kind, rule in rules:
            self.rules.setdefault(kind, []).append(rule)

    def on_visit(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, (cst.Import, cst.ImportFrom))  # a rule takes these whole

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode):  # type: ignore[override]
        for rule in self.rules.get(type(original_node), ()):
            if type(updated_node) is not type(original_node):
                break  # a rule before made it something else
            updated_node = rule(self.file, original_node, updated_node)
        return updated_node


def rewrite(source: str, facts: Facts) -> Rewritten:
    """The file's text with dead names put right; one that does not parse comes back as it was, with the reason."""
    from .rules.every import ALL

    text, early = source, list[Change]()
    try:
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    except (cst.ParserSyntaxError, RecursionError) as first_error:
        text, early = _rename_async(source)
        try:
            if not early:
                raise first_error
            wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        except (cst.ParserSyntaxError, RecursionError) as error:
            return Rewritten(source, error=_where(error))
    refused = _refused(text)
    if refused is not None:
        return Rewritten(source, error=refused)
    file = File(facts, wrapper)
    module = wrapper.module.visit(_Transformer(file, ALL))
    assert isinstance(module, cst.Module)
    module = _add_imports(module, [name for name in file.new_imports if file.aliases.get(name) != name])
    changes = sorted([*early, *file.changes], key=lambda change: change.line)
    return Rewritten(module.code, changes, sorted(file.remarks, key=lambda remark: remark.line))


def one_line(code: str, limit: int = 160) -> str:
    words = " ".join(code.split())
    return words if len(words) <= limit else words[: limit - 3] + "..."


def dotted(node: cst.CSTNode | None) -> str:
    """a.b.c of a chain of names, "" of anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute) and (front := dotted(node.value)):
        return f"{front}.{node.attr.value}"
    return ""


def expression(code: str) -> cst.BaseExpression:
    return cst.parse_expression(code)


def argument(call: cst.Call, name: str, position: int | None = None) -> cst.Arg | None:
    """The argument of this keyword, or at this position."""
    for index, arg in enumerate(call.args):
        if arg.keyword is not None and arg.keyword.value == name:
            return arg
        if arg.keyword is None and not arg.star and index == position:
            return arg
    return None


def without_last_comma(args: Sequence[cst.Arg]) -> list[cst.Arg]:
    """Arguments after one was taken away: the last has no comma."""
    args = list(args)
    if args and isinstance(args[-1].comma, cst.Comma):
        args[-1] = args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return args


def _rename_async(source: str) -> tuple[str, list[Change]]:
    """`async=` as an argument, which today's parsers refuse; told apart by its place after a bracket or comma."""
    lines, changes = source.split("\n"), []
    for number, line in enumerate(lines):
        new = _ASYNC_ARGUMENT.sub(r"\1non_blocking\2", line)
        if new != line:
            changes.append(Change(number + 1, ASYNC, one_line(line), one_line(new)))
            lines[number] = new
    return "\n".join(lines), changes


def _refused(text: str) -> tuple[int, str] | None:
    """What Python itself says of the file: LibCST lets some of Python 2 pass."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            ast.parse(text)
    except (SyntaxError, ValueError) as error:
        return getattr(error, "lineno", None) or 1, one_line(getattr(error, "msg", str(error)))
    return None


def _where(error: Exception) -> tuple[int, str]:
    if isinstance(error, cst.ParserSyntaxError):
        return error.raw_line, one_line(error.message)
    return 1, "too deeply nested to be parsed"


def _imported_modules(module: cst.Module) -> dict[str, str]:
    """Modules that the top level imports, with the name that each has there."""
    found: dict[str, str] = {}
    for statement in module.body:
        for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(small, cst.Import):
                for alias in small.names:
                    found.setdefault(dotted(alias.name), alias.evaluated_alias or dotted(alias.name))
    return found


def _all_names(module: cst.Module) -> tuple[set[str], set[str]]:
    """Dotted names that the file imports, and names that it binds, at whatever depth."""
    used, bound = set(), set()
    for node in matchers.findall(module, matchers.ImportAlias() | matchers.Param() | matchers.AssignTarget()):
        if isinstance(node, cst.Param):
            bound.add(node.name.value)
        elif isinstance(node, cst.AssignTarget):
            bound |= {name.value for name in matchers.findall(node, matchers.Name()) if isinstance(name, cst.Name)}
        elif isinstance(node, cst.ImportAlias):
            used.add(dotted(node.name))
            bound.add(node.evaluated_alias or dotted(node.name).split(".")[0])
    for node in matchers.findall(module, matchers.ImportFrom()):
        if isinstance(node, cst.ImportFrom) and not node.relative and not isinstance(node.names, cst.ImportStar):
            used |= {f"{dotted(node.module)}.{alias.evaluated_name}" for alias in node.names}
    for node in matchers.findall(module, matchers.FunctionDef() | matchers.ClassDef()):
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
            bound.add(node.name.value)
    return used, bound


def _all_methods(module: cst.Module) -> set[str]:
    """Names of the methods of every class in the file."""
    return {
        method.name.value
        for owner in matchers.findall(module, matchers.ClassDef())
        if isinstance(owner, cst.ClassDef)
        for method in owner.body.body
        if isinstance(method, cst.FunctionDef)
    }


def _add_imports(module: cst.Module, names: Sequence[str]) -> cst.Module:
    """Import these after the docstring and what comes from __future__."""
    if not names:
        return module
    position = 0
    for index, statement in enumerate(module.body):
        small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
        is_docstring = index == 0 and isinstance(small, cst.Expr) and isinstance(small.value, cst.SimpleString)
        is_future = isinstance(small, cst.ImportFrom) and dotted(small.module) == "__future__"
        if is_docstring or is_future:
            position = index + 1
    new = [cst.parse_statement(f"import {name}", config=module.config_for_parsing) for name in sorted(names)]
    return module.with_changes(body=[*module.body[:position], *new, *module.body[position:]])
