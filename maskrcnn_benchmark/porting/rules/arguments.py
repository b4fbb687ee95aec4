"""Arguments and methods that today's functions refuse: those that another replaces, and those that nothing needs."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from ..source import File, NodeRule, argument, expression, without_last_comma
from .names import Rule

RENAMED = Rule("arguments' names", "The library calls this argument otherwise today, or does without it.")
METHODS = Rule("methods' names", "Python and NumPy removed this method; another does the same.")
FROMSTRING = Rule(
    "numpy.fromstring",
    "NumPy 2.3 removed its reading of bytes; frombuffer does it, and copy() makes an array that can be written to.",
)
COPY = Rule(
    "copy=False", "In NumPy 2 copy=False raises where a copy is needed; None makes one only there, as False did."
)
CANVAS = Rule("tostring_rgb", "matplotlib 3.10 removed tostring_rgb; buffer_rgba has the same bytes and an alpha.")
SCHEDULERS = "torch.optim.lr_scheduler."

ARGUMENTS: dict[str, dict[str, str]] = {}  # function: old name to new; to "" if the argument goes
for row in """
    torchvision.transforms.functional.rotate  resample=interpolation
    torchvision.transforms.functional.affine  resample=interpolation fillcolor=fill
    torchvision.transforms.RandomRotation     resample=interpolation
    torchvision.transforms.RandomAffine       resample=interpolation fillcolor=fill
    torchvision.utils.make_grid               range=value_range
    torchvision.utils.save_image              range=value_range
    numpy.histogram                           normed=density
    numpy.histogram2d                         normed=density
    numpy.percentile                          interpolation=method
    numpy.nanpercentile                       interpolation=method
    numpy.quantile                            interpolation=method
    matplotlib.pyplot.hist                    normed=density
    matplotlib.pyplot.grid                    b=visible
    matplotlib.pyplot.savefig                 frameon= papertype=
    json.load                                 encoding=
    json.loads                                encoding=
    json.dump                                 encoding=
    json.dumps                                encoding=
    torch.onnx.export                         example_outputs= enable_onnx_checker= use_external_data_format= aten=
""".strip().splitlines():
    function, *pairs = row.split()
    ARGUMENTS[function] = dict(pair.split("=") for pair in pairs)
# Of matplotlib's axes and figures, by the method's name alone.
OF_METHODS = {"hist": {"normed": "density"}, "grid": {"b": "visible"}, "savefig": {"frameon": "", "papertype": ""}}
# verbose= of schedulers: where it stood, after all that they still take; of ReduceLROnPlateau once amid them.
VERBOSE = {
    "StepLR": 4,
    "MultiStepLR": 4,
    "ExponentialLR": 3,
    "CosineAnnealingLR": 4,
    "CosineAnnealingWarmRestarts": 4,
    "LambdaLR": 3,
    "MultiplicativeLR": 3,
    "CyclicLR": 13,
    "OneCycleLR": 14,
    "ReduceLROnPlateau": 9,
    "LRScheduler": 2,
    "_LRScheduler": 2,
}
NEW_METHODS = {"tostring": "tobytes", "isAlive": "is_alive", "getiterator": "iter"}


def names_of_arguments(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    names = {name.replace(".transforms.transforms.", ".transforms.") for name in file.names(original.func)}
    table = next((ARGUMENTS[name] for name in sorted(names) if name in ARGUMENTS), None)
    if table is None and not names and isinstance(original.func, cst.Attribute) and file.uses("matplotlib"):
        table = OF_METHODS.get(original.func.attr.value)
    args = []
    for arg in updated.args if table else ():
        new = (table or {}).get(arg.keyword.value) if arg.keyword else None
        if new is None:
            args.append(arg)
        elif new:
            args.append(arg.with_changes(keyword=cst.Name(new)))
    if not table or args == list(updated.args):
        return updated
    return _with_args(file, original, updated, args)


def verbose(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """Of torch's schedulers, and of what a scheduler of the fork's own gives them."""
    names = {n.removeprefix(SCHEDULERS) for n in file.names(original.func) if n.startswith(SCHEDULERS)}
    if m.matches(original.func, m.Attribute(value=m.Call(func=m.Name("super")), attr=m.Name("__init__"))):
        names = {n.removeprefix(SCHEDULERS) for n in file.bases_around(original) if n.startswith(SCHEDULERS)}
    name = next((name for name in sorted(names) if name in VERBOSE), None)
    if name is None:
        return updated
    gone = argument(updated, "verbose", VERBOSE[name])
    amid = argument(updated, "verbose", 4) if name == "ReduceLROnPlateau" else None
    if gone is None and amid is not None and m.matches(amid.value, m.Name("True") | m.Name("False")):
        gone = amid
    return updated if gone is None else _with_args(file, original, updated, [a for a in updated.args if a is not gone])


def _with_args(file: File, original: cst.Call, updated: cst.Call, args: list[cst.Arg]) -> cst.Call:
    new = updated.with_changes(args=args if len(args) == len(updated.args) else without_last_comma(args))
    file.changed(RENAMED, original, new)
    return new


def fromstring(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """numpy.fromstring(data, numpy.uint8); with a separator it reads text, as ever."""
    if not file.calls(original, "numpy.fromstring") or any(arg.star for arg in original.args):
        return updated
    separator = argument(updated, "sep", 3)
    if separator is not None and not m.matches(separator.value, m.SimpleString("''") | m.SimpleString('""')):
        return updated
    args = [a.with_changes(keyword=cst.Name("buffer")) if a is argument(updated, "string") else a for a in updated.args]
    call = updated.with_changes(
        func=expression(f"{file.module_name('numpy', original.func)}.frombuffer"),
        args=without_last_comma([arg for arg in args if arg is not separator]),
    )
    new = cst.Call(cst.Attribute(call, cst.Name("copy")))
    file.changed(FROMSTRING, original, new)
    return new


def copies(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """numpy.array(x, copy=False)"""
    copy = argument(updated, "copy", 2)
    if not file.calls(original, "numpy.array") or copy is None or not m.matches(copy.value, m.Name("False")):
        return updated
    new = updated.with_changes(args=[a.with_changes(value=cst.Name("None")) if a is copy else a for a in updated.args])
    file.changed(COPY, original, new)
    return new


def methods(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """x.tostring() and its kind; xml.etree.ElementTree.tostring(x) is a function and stays."""
    func = updated.func
    if not isinstance(func, cst.Attribute) or file.names(original.func) or file.defines_method(func.attr.value):
        return updated
    name, value, rule = func.attr.value, file.code(func.value), METHODS
    if name in NEW_METHODS:
        new: cst.BaseExpression = updated.with_changes(func=func.with_changes(attr=cst.Name(NEW_METHODS[name])))
    elif name == "getchildren" and not original.args:
        new = expression(f"list({value})")
    elif name == "tostring_rgb" and not original.args:
        rule = CANVAS
        new = expression(f"{file.module_name('numpy', original)}.asarray({value}.buffer_rgba())[..., :3].tobytes()")
    else:
        return updated
    file.changed(rule, original, new)
    return new


RULES: list[tuple[type, NodeRule]] = [
    (cst.Call, names_of_arguments),
    (cst.Call, verbose),
    (cst.Call, fromstring),
    (cst.Call, copies),
    (cst.Call, methods),
]
