"""Masks of zeros and ones, and integers divided by integers: what their tensors meant to torch in 2019 (tensor_changes.py)."""

from __future__ import annotations

import libcst as cst

from ..source import File, NodeRule, expression
from ..tensor_changes import plan
from .names import Rule
from .torch_calls import _with_arg

MASK = Rule(
    "uint8 masks",
    "torch 1.2 made masks bool; today a uint8 one is refused where values are set or filled by it.",
)
INVERT = Rule("1 - mask", "Comparisons give bool tensors since torch 1.2, which `-` refuses; ~ turns them round.")
DIVIDE = Rule(
    "integer division", "Until torch 1.4 `/` of whole-number tensors dropped the fraction; today it gives floats."
)
FLOOR = Rule("// of tensors", "Until torch 1.12 `//` of tensors rounded towards zero; today it rounds down.")


def counts(file: File, original: cst.BaseExpression, updated: cst.BaseExpression) -> cst.BaseExpression:
    if id(original) in plan(file).counts and not file.facts.recent_torch:
        file.remark(
            original,
            f"`{file.code(original)}`: a sum of masks counted until torch 1.2, now it is a mask; if these are tensors, "
            "write .long() after each.",
        )
    return updated


def dtypes(file: File, original: cst.Attribute, updated: cst.Attribute) -> cst.BaseExpression:
    if id(original) not in plan(file).to_bool:
        return updated
    tensor = "torch.uint8" not in file.names(original)
    new = updated.with_changes(attr=cst.Name("BoolTensor" if tensor else "bool"))
    file.changed(MASK, original, new)
    return new


def byte_calls(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if id(original) not in plan(file).to_bool or not isinstance(updated.func, cst.Attribute):
        return updated
    new = updated.with_changes(func=updated.func.with_changes(attr=cst.Name("bool")))
    file.changed(MASK, original, new)
    return new


def operations(file: File, original: cst.BinaryOperation, updated: cst.BinaryOperation) -> cst.BaseExpression:
    todo = plan(file)
    if id(original) in todo.invert:
        how, mask = todo.invert[id(original)], _bracketed(file, updated.right)
        if not how:
            file.remark(
                original, f"`{file.code(original)}`: if these are tensors, write ~{mask}; NumPy's arrays are fine."
            )
            return updated
        new = expression(f"~{mask}" if how == "~" else f"({mask} == 0)")
        if how == "~":
            new = new.with_changes(lpar=updated.lpar, rpar=updated.rpar)
        file.changed(INVERT, original, new)
        return new
    if id(original) not in todo.divide:
        return updated
    if not todo.divide[id(original)]:
        file.remark(
            original,
            f"`{file.code(original)}`: if these are tensors, write // for /, which dropped the fraction until torch 1.4; "
            "NumPy's arrays are fine.",
        )
        return updated
    rule = DIVIDE if isinstance(original.operator, cst.Divide) else FLOOR
    divide = updated.operator
    if todo.divide[id(original)] == "floor" and isinstance(divide, cst.Divide):
        space = {"whitespace_before": divide.whitespace_before, "whitespace_after": divide.whitespace_after}
        new = updated.with_changes(operator=cst.FloorDivide(**space))
    else:
        file.need_import("torch", original)
        new = expression(f'torch.div({file.code(updated.left)}, {file.code(updated.right)}, rounding_mode="trunc")')
    file.changed(rule, original, new)
    return new


def minus(file: File, original: cst.BaseExpression, updated: cst.BaseExpression) -> cst.BaseExpression:
    if id(original) in plan(file).minus:
        file.remark(
            original,
            f"`{file.code(original)}`: torch refuses `-` of bool tensors, which comparisons give since torch 1.2; if these are "
            "tensors, write a & ~b for what is in the first alone, or .int() after each for numbers.",
        )
    return updated


def _bracketed(file: File, node: cst.BaseExpression) -> str:
    code = file.code(node)
    return code if node.lpar or isinstance(node, (cst.Name, cst.Call, cst.Attribute, cst.Subscript)) else f"({code})"


def division_calls(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if id(original) not in plan(file).divide:
        return updated
    new = _with_arg(updated, 'rounding_mode="trunc"')
    file.changed(DIVIDE, original, new)
    return new


def divisions_in_place(file: File, original: cst.AugAssign, updated: cst.AugAssign) -> cst.AugAssign:
    if id(original) not in plan(file).divide or not isinstance(updated.operator, cst.DivideAssign):
        return updated
    operator = updated.operator
    space = {"whitespace_before": operator.whitespace_before, "whitespace_after": operator.whitespace_after}
    new = updated.with_changes(operator=cst.FloorDivideAssign(**space))
    file.changed(DIVIDE, original, new)
    return new


RULES: list[tuple[type, NodeRule]] = [
    (cst.Attribute, dtypes),
    (cst.Call, byte_calls),
    (cst.Call, division_calls),
    (cst.Call, counts),
    (cst.BinaryOperation, minus),
    (cst.UnaryOperation, minus),
    (cst.BinaryOperation, operations),
    (cst.AugAssign, divisions_in_place),
    (cst.Comparison, counts),
]
