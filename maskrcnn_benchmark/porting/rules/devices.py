"""The GPU named in a fork's code: its models run on a CPU, too, which is what a check without a GPU needs."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from ..source import File, NodeRule, argument, expression, without_last_comma
from .names import Rule

DEVICE = Rule("the GPU by name", "The code names the GPU whatever MODEL.DEVICE says; without one it could not run.")


def _chosen(file: File, at: cst.CSTNode) -> str:
    return f'"cuda" if {file.module_name("torch", at)}.cuda.is_available() else "cpu"'


def _is_cuda(arg: cst.Arg | None) -> bool:
    return arg is not None and isinstance(arg.value, cst.SimpleString) and arg.value.evaluated_value == "cuda"


def _guarded(file: File, node: cst.CSTNode) -> bool:
    """Whether an `if` above asks for the GPU, as this rule's own code does."""
    parent = file.parent(node)
    while parent is not None:
        if isinstance(parent, (cst.If, cst.IfExp)) and "cuda" in file.code(parent.test):
            return True
        parent = file.parent(parent)
    return False


def moves(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """x.cuda() and x.to("cuda")."""
    func = updated.func
    if not isinstance(func, cst.Attribute) or not file.uses("torch") or _guarded(file, original):
        return updated
    if file.defines_method(func.attr.value):
        return updated
    args = list(updated.args)
    if func.attr.value == "cuda" and not any(arg.keyword is None or arg.keyword.value == "device" for arg in args):
        new = updated.with_changes(func=func.with_changes(attr=cst.Name("to")), args=[_argument(file, original), *args])
    elif func.attr.value == "to" and args and args[0].keyword is None and _is_cuda(args[0]):
        new = updated.with_changes(args=[args[0].with_changes(value=expression(_chosen(file, original))), *args[1:]])
    else:
        return updated
    new = new.with_changes(args=without_last_comma(new.args))
    file.changed(DEVICE, original, new)
    return new


def _argument(file: File, at: cst.CSTNode) -> cst.Arg:
    return cst.Arg(expression(_chosen(file, at)), comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))


def arguments(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """device="cuda" of torch's functions and tensors' methods, and torch.device("cuda")."""
    is_device = file.calls(original, "torch.device")
    given = argument(updated, "type", 0) if is_device else argument(updated, "device")
    new_tensor = isinstance(original.func, cst.Attribute) and original.func.attr.value.startswith("new_")
    of_torch = any(name.startswith("torch.") for name in file.names(original.func))
    if given is None or not _is_cuda(given) or not (of_torch or new_tensor) or _guarded(file, original):
        return updated
    args = [
        arg.with_changes(value=expression(_chosen(file, original))) if arg is given else arg for arg in updated.args
    ]
    new = updated.with_changes(args=args)
    file.changed(DEVICE, original, new)
    return new


def types(file: File, original: cst.Attribute, updated: cst.Attribute) -> cst.BaseExpression:
    """torch.cuda.FloatTensor and its kind, as a function or as an argument of type()."""
    name = next((n for n in file.names(original) if n.startswith("torch.cuda.") and n.endswith("Tensor")), "")
    parent = file.parent(original)
    called = isinstance(parent, cst.Call) and parent.func is original
    cast = isinstance(parent, cst.Arg) and m.matches(
        _call_of(file, parent), m.Call(func=m.Attribute(attr=m.Name("type")))
    )
    if not name or not (called or cast) or _guarded(file, original):
        return updated
    torch = file.module_name("torch", original)
    kind = updated.attr.value  # which may have become another: a mask's is BoolTensor
    new = expression(f"({torch}.cuda.{kind} if {torch}.cuda.is_available() else {torch}.{kind})")
    file.changed(DEVICE, original, new)
    return new


def waits(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """torch.cuda.synchronize() and set_device() as statements."""
    named = any(file.calls(original, f"torch.cuda.{name}") for name in ("synchronize", "set_device"))
    if not named or not isinstance(file.parent(original), cst.Expr) or _guarded(file, original):
        return updated
    new = cst.BooleanOperation(
        left=expression(f"{file.module_name('torch', original)}.cuda.is_available()"), operator=cst.And(), right=updated
    )
    file.changed(DEVICE, original, new)
    return new


def _call_of(file: File, arg: cst.Arg) -> cst.CSTNode:
    parent = file.parent(arg)
    return parent if parent is not None else arg


RULES: list[tuple[type, NodeRule]] = [
    (cst.Call, moves),
    (cst.Call, arguments),
    (cst.Attribute, types),
    (cst.Call, waits),
]
