"""Rewriting a fork's Python file with LibCST: dead names become today's, comments and layout stay."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import MetadataWrapper

from .rules.every import ALL
from .rules.names import Rule
from .source import Change, Facts, File, NodeRule, Remark, dotted, one_line

ASYNC = Rule("async=", "async is a keyword since Python 3.7; the argument is called non_blocking.")
_ASYNC_ARGUMENT = re.compile(r"([(,]\s*)async(\s*=(?!=))")


@dataclass
class Rewritten:
    """A file's new text and what was done.

    Attributes:
        left: changes that were not made, because the fork was written for a later torch than they are for.
        error: why the file was left as it is, if it does not parse: (line, message).
    """

    text: str
    changes: list[Change] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    left: list[Change] = field(default_factory=list)
    error: tuple[int, str] | None = None


class _Transformer(cst.CSTTransformer):
    """Applies each rule to the kinds of node that it is registered for, in one pass from the leaves up."""

    def __init__(self, file: File, rules: Sequence[tuple[type, NodeRule]]):
        super().__init__()
        self.file = file
        self.became: dict[cst.CSTNode, cst.CSTNode] = {}  # simple statements, as they were
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
        if isinstance(original_node, (cst.SimpleStatementLine, cst.SimpleStatementSuite)):
            several = isinstance(updated_node, cst.FlattenSentinel)
            self.became[original_node] = updated_node[0] if several else updated_node  # type: ignore[index]
        return updated_node


class _ImportsBeside(cst.CSTTransformer):
    """Puts imports before statements."""

    def __init__(self, wanted: dict[cst.CSTNode, Iterable[str]]):
        super().__init__()
        self.wanted = wanted

    def on_leave(self, original_node: cst.CSTNode, updated_node: cst.CSTNode):  # type: ignore[override]
        lines = [
            cst.ensure_type(cst.parse_statement(f"import {m}"), cst.SimpleStatementLine)
            for m in sorted(self.wanted.get(original_node, ()))
        ]
        if lines and isinstance(updated_node, cst.SimpleStatementSuite):  # def f(): import a; return a.b
            return updated_node.with_changes(body=[*(line.body[0] for line in lines), *updated_node.body])
        return cst.FlattenSentinel([*lines, updated_node]) if lines else updated_node


def rewrite(source: str, facts: Facts) -> Rewritten:
    """The file's text with dead names put right; one that does not parse comes back as it was, with the reason."""
    text, early = source, list[Change]()
    try:
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    except (cst.ParserSyntaxError, RecursionError) as first_error:
        text, early = rename_async(source)
        try:
            if not early:
                raise first_error
            wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        except (cst.ParserSyntaxError, RecursionError) as error:
            return Rewritten(source, error=_where(error))
    refused = refused_by_python(text)
    if refused is not None:
        return Rewritten(source, error=refused)
    file = File(facts, wrapper)
    transformer = _Transformer(file, ALL)
    module = wrapper.module.visit(transformer)
    module = module.visit(
        _ImportsBeside({transformer.became[node]: names for node, names in file.imports_beside.items()})
    )
    assert isinstance(module, cst.Module)
    module = _add_imports(module, list(file.new_imports))
    changes = sorted([*early, *file.changes], key=lambda change: change.line)
    return Rewritten(module.code, changes, sorted(file.remarks, key=lambda remark: remark.line))


def rename_async(source: str) -> tuple[str, list[Change]]:
    """`async=` as an argument, which today's parsers refuse; told apart by its place after a bracket or comma."""
    lines, changes = source.split("\n"), []
    for number, line in enumerate(lines):
        new = _ASYNC_ARGUMENT.sub(r"\1non_blocking\2", line)
        if new != line:
            changes.append(Change(number + 1, ASYNC, one_line(line), one_line(new)))
            lines[number] = new
    return "\n".join(lines), changes


def refused_by_python(text: str) -> tuple[int, str] | None:
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
