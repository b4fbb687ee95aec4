"""Applies the table of moved names: in imports, where names stay as they are bound, and where dotted names are used."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst
from libcst import matchers

from ..source import File, NodeRule, dotted, expression
from .names import MOVED, Moved, Rule, names_by_package

# Modules that are gone, all of whose useful names are elsewhere: an import of one goes when its uses went.
GONE = ("torch._six", "apex", "apex.parallel", "apex.normalization", "apex.optimizers", "imp")


def moved(file: File, name: str) -> Moved | None:
    """Where a dotted name is today; a name in a module that moved as a whole goes with it."""
    found = moved_exactly(file, name)
    if found is not None:
        return found
    front, _, last = name.rpartition(".")
    while front:
        whole = moved_exactly(file, front)
        if whole is not None:
            is_module = not whole.expression and not whole.name
            return Moved(whole.module, last, "", whole.rule) if is_module else None
        front, _, more = front.rpartition(".")
        last = f"{more}.{last}"
    return None


def import_names(file: File, original: cst.Import, updated: cst.Import) -> cst.BaseSmallStatement | cst.RemovalSentinel:
    """import A.B as c: the module's name of today. Without "as", dotted names are rewritten where they are used."""
    kept: list[cst.ImportAlias] = []
    for alias in updated.names:
        target = moved(file, dotted(alias.name))
        if dotted(alias.name) in GONE and all_uses_move(file, dotted(alias.name)):
            file.changed(moved_rule(file, dotted(alias.name)), original, "(not imported)")
            continue
        if target is None or target.expression or target.name:
            kept.append(alias)
            continue
        name = ".".join(filter(None, (target.module, target.name)))
        bound = alias.evaluated_alias or (dotted(alias.name) if "." not in dotted(alias.name) else name)
        code = f"import {name}" + ("" if bound == name else f" as {bound}")
        new = cst.parse_statement(code)
        assert isinstance(new, cst.SimpleStatementLine) and isinstance(new.body[0], cst.Import)
        kept.append(new.body[0].names[0])
        file.changed(target.rule, original, code)
    if not kept:
        return cst.Pass() if _alone(file, original) else cst.RemoveFromParent()
    names = [alias.with_changes(comma=cst.MaybeSentinel.DEFAULT) for alias in kept]
    return (
        updated
        if len(kept) == len(updated.names) and kept == list(updated.names)
        else updated.with_changes(names=names)
    )


def _alone(file: File, node: cst.CSTNode) -> bool:
    """Whether a block would be empty without this statement."""
    line = file.parent(node)
    block = file.parent(line) if line is not None else None
    return isinstance(block, cst.IndentedBlock) and len(block.body) == 1


def from_imports(file: File, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine):
    """from A import b as c: from where b is today, or c = what it stood for. The statement may become several."""
    pieces: list[cst.BaseSmallStatement] = []
    for before, small in zip(original.body, updated.body, strict=False):
        if not isinstance(small, cst.ImportFrom) or small.relative or isinstance(small.names, cst.ImportStar):
            pieces.append(small)
            continue
        pieces += _split(file, before, small)
    if len(pieces) == len(updated.body) and all(a is b for a, b in zip(pieces, updated.body, strict=True)):
        return updated
    lines = []
    for index, piece in enumerate(pieces):
        plain = piece.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        leading = updated.leading_lines if index == 0 else ()
        end = updated.trailing_whitespace if index == len(pieces) - 1 else cst.TrailingWhitespace()
        lines.append(cst.SimpleStatementLine([plain], leading_lines=leading, trailing_whitespace=end))
    return cst.FlattenSentinel(lines)


def _split(file: File, original: cst.CSTNode, small: cst.ImportFrom) -> Iterator[cst.BaseSmallStatement]:
    assert not isinstance(small.names, cst.ImportStar)
    module = dotted(small.module)
    gone = [a for a in small.names if (n := f"{module}.{a.evaluated_name}") in GONE and all_uses_move(file, n)]
    stay = [a for a in small.names if a not in gone and moved(file, f"{module}.{a.evaluated_name}") is None]
    if len(stay) == len(small.names):
        yield small
        return
    if stay:
        last = stay[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        yield small.with_changes(names=[*stay[:-1], last])
    elif len(gone) == len(small.names):
        file.changed(moved_rule(file, f"{module}.{gone[0].evaluated_name}"), original, "(not imported)")
        yield cst.Pass()  # something has to stand in a block that held nothing else
    for alias in small.names:
        target = moved(file, f"{module}.{alias.evaluated_name}")
        if target is None:
            continue
        code = _binding(target, alias.evaluated_alias or alias.evaluated_name)
        statement = cst.parse_statement(code)
        assert isinstance(statement, cst.SimpleStatementLine)
        if target.expression or "." in target.name:
            file.need_import(target.module, original)
        file.changed(target.rule, original, code)
        yield statement.body[0]


def _binding(target: Moved, bound: str) -> str:
    """The statement that binds `bound` to what moved."""
    if target.expression or "." in target.name:
        return f"{bound} = {target.code}"
    if not target.module:
        return f"{bound} = {target.name}"
    if target.name:
        front, last = target.module, target.name
    else:
        front, _, last = target.module.rpartition(".")
    statement = f"from {front} import {last}" if front else f"import {last}"
    return statement + ("" if last == bound else f" as {bound}")


def attributes(file: File, original: cst.Attribute, updated: cst.Attribute) -> cst.BaseExpression:
    """numpy.float and its kind, under whatever name numpy was imported."""
    for name in sorted(file.names(original)):
        target = moved_exactly(file, name)
        front, _, _ = name.rpartition(".")
        if target is None:
            # A name of a module that moved as a whole may be dead there, too: the import already says where it is.
            whole = moved(file, name)
            target = moved_exactly(file, whole.code) if whole is not None else None
            front = whole.module if whole is not None else ""
        if target is None:
            continue
        parent = file.parent(original)
        if isinstance(parent, cst.Attribute) and moved_exactly(file, f"{name}.{parent.attr.value}") is not None:
            return updated  # the longer name has a rule of its own
        if target.module == front and target.name and "." not in target.name:
            new: cst.BaseExpression = updated.with_changes(attr=cst.Name(target.name))
        else:
            new = expression(file.spell(target, original))
        if new.deep_equals(updated):
            continue
        file.changed(target.rule, original, new)
        return new
    return updated


def moved_exactly(file: File, name: str) -> Moved | None:
    if name.startswith(("apex.", "imp.")) and file.facts.path != f"{file.facts.package}/utils/imports.py":
        return MOVED.get(name) or names_by_package(file.facts.package).get(name)
    return MOVED.get(name)


def moved_rule(file: File, module: str) -> Rule:
    """The rule for the names of a module."""
    return next(
        t.rule for n, t in {**names_by_package(file.facts.package), **MOVED}.items() if n.startswith(f"{module}.")
    )


def all_uses_move(file: File, module: str) -> bool:
    """Whether every dotted use of a module's names in the file is in the table."""
    return all(
        moved(file, name) is not None
        for node in find_attributes(file)
        for name in file.names(node)
        if name.startswith(f"{module}.") and name not in GONE
    )


def find_attributes(file: File) -> list[cst.CSTNode]:
    return list(matchers.findall(file.module, matchers.Attribute()))


RULES: list[tuple[type, NodeRule]] = [
    (cst.Import, import_names),
    (cst.SimpleStatementLine, from_imports),
    (cst.Attribute, attributes),
]
