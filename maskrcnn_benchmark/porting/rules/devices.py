"""The GPU named in a fork's code: its models run on a CPU, too, which is what a check without a GPU needs."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from ..source import File, NodeRule, argument, expression
from .names import Rule
from .torch_calls import _with_arg

DEVICE = Rule("the GPU by name", "The code names the GPU whatever MODEL.DEVICE says; without one it could not run.")


def _chosen(file: File, at: cst.CSTNode, gpu: str = '"cuda"') -> cst.BaseExpression:
    return expression(f'{gpu} if {file.module_name("torch", at)}.cuda.is_available() else "cpu"')


def _is_cuda(arg: cst.Arg | None) -> bool:
    """Whether this is "cuda", "cuda:0", f"cuda:{rank}" or "cuda:{}".format(rank)."""
    value = arg.value if arg is not None else None
    if isinstance(value, cst.Call) and m.matches(value.func, m.Attribute(attr=m.Name("format"))):
        value = cst.ensure_type(value.func, cst.Attribute).value
    if isinstance(value, cst.FormattedString):
        return isinstance(value.parts[0], cst.FormattedStringText) and value.parts[0].value.startswith("cuda")
    return isinstance(value, cst.SimpleString) and str(value.evaluated_value).startswith("cuda")


def _guarded(file: File, node: cst.CSTNode) -> bool:
    """Whether an `if` above asks for the GPU, as this rule's own code does."""
    parent = file.parent(node)
    while parent is not None:
        if isinstance(parent, (cst.If, cst.IfExp)) and "cuda" in file.code(parent.test):
            return True
        parent = file.parent(parent)
    return False


def moves(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """x.cuda(), x.cuda(0) and x.to("cuda")."""
    func = updated.func
    if not isinstance(func, cst.Attribute) or not file.uses("torch") or _guarded(file, original):
        return updated
    if file.defines_method(func.attr.value):
        return updated
    args = list(updated.args)
    if func.attr.value == "cuda" and not any(arg.star for arg in args):
        given, later = argument(updated, "device", 0), argument(updated, "non_blocking", 1)
        number = given is not None and isinstance(given.value, cst.Integer)
        gpu = '"cuda"' if given is None else f'"cuda:{file.code(given.value)}"' if number else file.code(given.value)
        new = updated.with_changes(
            func=func.with_changes(attr=cst.Name("to")), args=[cst.Arg(_chosen(file, original, gpu))]
        )
        if later is not None:
            new = _with_arg(new, f"non_blocking={file.code(later.value)}")
    elif func.attr.value == "to" and args and args[0].keyword is None and _is_cuda(args[0]):
        new = updated.with_changes(args=[_of_choice(file, original, args[0]), *args[1:]])
    else:
        return updated
    file.changed(DEVICE, original, new)
    return new


def _of_choice(file: File, at: cst.CSTNode, arg: cst.Arg) -> cst.Arg:
    return arg.with_changes(value=_chosen(file, at, file.code(arg.value)))


def arguments(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """device="cuda" of torch's functions and tensors' methods, and torch.device("cuda")."""
    is_device = file.calls(original, "torch.device")
    given = argument(updated, "type", 0) if is_device else argument(updated, "device")
    new_tensor = isinstance(original.func, cst.Attribute) and original.func.attr.value.startswith("new_")
    of_torch = any(name.startswith("torch.") for name in file.names(original.func))
    if given is None or not _is_cuda(given) or not (of_torch or new_tensor) or _guarded(file, original):
        return updated
    args = [_of_choice(file, original, arg) if arg is given else arg for arg in updated.args]
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
