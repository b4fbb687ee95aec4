"""A fork's Python file as rules see it: its names, its positions, and where they say what they changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst import matchers
from libcst.metadata import (
    ImportAssignment,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    ScopeProvider,
)

from .rules.names import Moved, Rule

# What every port has installed: Python's library, and what the package itself needs.
ALWAYS_THERE = {*sys.stdlib_module_names, *"PIL cv2 numpy pycocotools torch torchvision tqdm yacs yaml".split()}


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
        self._scopes = wrapper.resolve(ScopeProvider)
        self.changes: list[Change] = []
        self.remarks: list[Remark] = []
        self.new_imports: dict[str, None] = {}  # at the top of the file
        self.imports_beside: dict[cst.CSTNode, dict[str, None]] = {}  # before a statement with an import of the file's
        self._aliases = _imported_modules(wrapper.module)
        self._at_top = {name.split(".")[0] for node in _top_imports(wrapper.module) for name in _names_of(node)}
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

    def bases_around(self, node: cst.CSTNode) -> set[str]:
        """Dotted names of the bases of the class that `node` stands in."""
        owner: cst.CSTNode | None = node
        while owner is not None and not isinstance(owner, cst.ClassDef):
            owner = self.parent(owner)
        return (
            {name for base in owner.bases for name in self.names(base.value)}
            if isinstance(owner, cst.ClassDef)
            else set()
        )

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

    def need_import(self, modules: str, at: cst.CSTNode) -> None:
        """Have the file import these modules (commas between), each under its full name, for an expression in place of `at`.

        What not every port has is imported where the name in `at` is: the module still imports without it if it did.
        """
        for module in filter(None, (m.strip() for m in modules.split(","))):
            if module in self._names_at(at, module):
                continue
            first = module.split(".")[0]
            beside = None if first in ALWAYS_THERE | self._at_top | {self.facts.package} else self._importing(at)
            (self.new_imports if beside is None else self.imports_beside.setdefault(beside, {}))[module] = None

    def module_name(self, module: str, at: cst.CSTNode) -> str:
        """What the file calls a module in the place of `at`; it is imported if the file does not."""
        front = at
        while isinstance(front, cst.Attribute):
            front = front.value
            if module in self.names(front):
                return self.code(front)
        names = self._names_at(at, module)
        if not names:
            self.need_import(module, at)
        return names[0] if names else module

    def spell(self, target: Moved, at: cst.CSTNode) -> str:
        """An expression for what moved and `at` names, its module imported."""
        if target.expression:
            self.need_import(target.module, at)
            return target.expression
        return ".".join(part for part in (target.module and self.module_name(target.module, at), target.name) if part)

    def _names_at(self, at: cst.CSTNode, module: str) -> list[str]:
        """What imports of a module call it, of those that reach the place of `at`."""

        def is_module(name: str) -> bool:
            return any(
                found.name == module for b in self._bindings(at, name) for found in b.get_qualified_names_for(name)
            )

        return list(filter(is_module, self._aliases.get(module, ())))

    def _bindings(self, at: cst.CSTNode, name: str) -> list[ImportAssignment]:
        """Imports that bind the first part of a dotted name in the place of `at`."""
        scope = self._scopes.get(at)
        return [bound for bound in scope[name.split(".")[0]] if isinstance(bound, ImportAssignment)] if scope else []

    def _importing(self, at: cst.CSTNode) -> cst.CSTNode | None:
        """The statement that imports what `at` begins with; None if one does at the top of the file, or if none does."""
        while isinstance(at, cst.Attribute):
            at = at.value
        lines = [self.parent(bound.node) for bound in self._bindings(at, dotted(at))]
        return None if any(self.parent(line) is self.module for line in lines if line) else next(iter(lines), None)

    def changed(self, rule: Rule, original: cst.CSTNode, new: cst.CSTNode | str) -> None:
        after = new if isinstance(new, str) else self.code(new)
        self.changes.append(Change(self.line(original), rule, one_line(self.code(original)), one_line(after)))

    def remark(self, node: cst.CSTNode, text: str) -> None:
        self.remarks.append(Remark(self.line(node), text))


# Given the file, the node as it was, and the node with its parts rewritten; returns what takes its place.
NodeRule = Callable[[File, Any, Any], Any]


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


def _imported_modules(module: cst.Module) -> dict[str, list[str]]:
    """Modules that are imported, at whatever depth, with the names that they have there."""
    found: dict[str, list[str]] = {}
    for node in matchers.findall(module, matchers.Import() | matchers.ImportFrom()):
        if isinstance(node, (cst.Import, cst.ImportFrom)):
            for name, alias in _names_of(node).items():
                found.setdefault(name, []).append(alias)
    return found


def _top_imports(module: cst.Module) -> Iterator[cst.Import | cst.ImportFrom]:
    """Imports outside of functions, classes, conditions and `try`."""
    for statement in module.body:
        for small in statement.body if isinstance(statement, cst.SimpleStatementLine) else ():
            if isinstance(small, (cst.Import, cst.ImportFrom)):
                yield small


def _names_of(node: cst.Import | cst.ImportFrom) -> dict[str, str]:
    """Dotted names that an import binds, with the local name of each."""
    if isinstance(node, cst.Import):
        return {dotted(alias.name): alias.evaluated_alias or dotted(alias.name) for alias in node.names}
    if node.relative or isinstance(node.names, cst.ImportStar):
        return {}
    names = {f"{dotted(node.module)}.{alias.evaluated_name}": alias for alias in node.names}
    return {name: alias.evaluated_alias or alias.evaluated_name for name, alias in names.items()}


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
        if isinstance(node, cst.ImportFrom):
            used |= _names_of(node).keys()
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
