"""OpenCV, which takes whole numbers alone by now, and Pillow's measures of text."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst
from libcst import matchers as m

from ..source import File, NodeRule, argument, expression, without_last_comma
from .names import Rule

POINTS = Rule(
    "OpenCV's points", "OpenCV takes points and sizes of whole numbers; floats and tensors of 2019 are refused today."
)
COLORS = Rule("OpenCV's colours", "OpenCV takes colours of Python's numbers; NumPy's in a tuple are refused today.")
CONTOURS = Rule("findContours", "OpenCV 4 returns contours and hierarchy; OpenCV 3 returned an image before them.")
TEXT = Rule("Pillow's text sizes", "Pillow 10 removed textsize and getsize; the box of the text ends at its size.")

# Positions of points, by function; a size counts as one.
POINT_ARGUMENTS = {
    "rectangle": {"pt1": 1, "pt2": 2},
    "line": {"pt1": 1, "pt2": 2},
    "arrowedLine": {"pt1": 1, "pt2": 2},
    "circle": {"center": 1},
    "ellipse": {"center": 1, "axes": 2},
    "putText": {"org": 2},
    "drawMarker": {"position": 1},
    "resize": {"dsize": 1},
    "warpAffine": {"dsize": 2},
    "warpPerspective": {"dsize": 2},
}
COLOR_ARGUMENTS = {"rectangle": 3, "line": 3, "arrowedLine": 3, "circle": 3, "putText": 5, "drawMarker": 2}
WHOLE = m.Integer() | m.UnaryOperation(expression=m.Integer()) | m.Call(func=m.Name("int")) | m.Call(func=m.Name("len"))


def opencv(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    functions = {name.removeprefix("cv2.") for name in file.names(original.func) if name.startswith("cv2.")}
    function = next((name for name in functions if name in POINT_ARGUMENTS), None)
    if function is None:
        return updated
    wanted = {id(argument(updated, name, at)) for name, at in POINT_ARGUMENTS[function].items()}
    color = argument(updated, "color", COLOR_ARGUMENTS.get(function))
    args, rules = [], []
    for arg in updated.args:
        new = arg.value
        if id(arg) in wanted:
            new = whole_point(file, arg.value)
        elif arg is color:
            new = _plain_color(file, arg.value)
        if new is not arg.value:
            rules.append(COLORS if arg is color else POINTS)
        args.append(arg.with_changes(value=new))
    if not rules:
        return updated
    changed = updated.with_changes(args=args)
    for rule in dict.fromkeys(rules):
        file.changed(rule, original, changed)
    return changed


def whole_point(file: File, node: cst.BaseExpression) -> cst.BaseExpression:
    """The point with whole numbers: int() round each part of a pair, or of whatever is a pair at run time."""
    if isinstance(node, (cst.Tuple, cst.List)):
        if any(isinstance(element, cst.StarredElement) for element in node.elements):
            return node
        elements = [
            e if m.matches(e.value, WHOLE) else e.with_changes(value=expression(f"int({file.code(e.value)})"))
            for e in node.elements
        ]
        if all(new is old for new, old in zip(elements, node.elements, strict=True)):
            return node
        return node.with_changes(elements=elements)
    if m.matches(node, m.Name("None") | m.Call(func=m.Name("tuple"), args=[m.Arg(value=m.GeneratorExp())])):
        return node
    if m.matches(node, m.Call(func=m.Name("tuple") | m.Name("list"), args=[m.Arg()])):
        node = cst.ensure_type(node, cst.Call).args[0].value
    if isinstance(node, (cst.Name, cst.Attribute, cst.Subscript, cst.Call, cst.BinaryOperation)):
        return expression(f"tuple(int(v) for v in {file.code(node)})")
    return node


def _plain_color(file: File, node: cst.BaseExpression) -> cst.BaseExpression:
    """tuple(array): its numbers are NumPy's. Other colours are left: a name may be a number, too."""
    if m.matches(node, m.Call(func=m.Name("tuple"), args=[m.Arg()])) and isinstance(node, cst.Call):
        inner = node.args[0].value
        if not isinstance(inner, (cst.GeneratorExp, cst.ListComp)):
            return expression(f"tuple(int(v) for v in {file.code(inner)})")
    return node


def contours(file: File, original: cst.Assign, updated: cst.Assign) -> cst.Assign:
    """_, contours, hierarchy = cv2.findContours(...): without the first. A choice by version stays as it is."""
    if not file.calls(original.value, "cv2.findContours"):
        return updated
    target = updated.targets[0].target
    if len(updated.targets) != 1 or not isinstance(target, cst.Tuple) or len(target.elements) != 3:
        return updated
    if _under_condition(file, original):
        return updated
    new = updated.with_changes(targets=[updated.targets[0].with_changes(target=_without_first(target))])
    file.changed(CONTOURS, original, new)
    return new


def _without_first(target: cst.Tuple) -> cst.Tuple:
    return target.with_changes(elements=target.elements[1:])


def contours_by_position(file: File, original: cst.Subscript, updated: cst.Subscript) -> cst.BaseExpression:
    """cv2.findContours(...)[1], which was the contours: those are the last but one in every version."""
    index = m.SubscriptElement(slice=m.Index(value=m.Integer("1")))
    if not file.calls(original.value, "cv2.findContours") or not m.matches(original, m.Subscript(slice=[index])):
        return updated
    if _under_condition(file, original):
        return updated
    new = expression(f"{file.code(updated.value)}[-2]")
    file.changed(CONTOURS, original, new)
    return new


def _under_condition(file: File, node: cst.CSTNode) -> bool:
    """Whether an `if` above asks for OpenCV's version."""
    parent = file.parent(node)
    while parent is not None:
        if isinstance(parent, (cst.If, cst.IfExp)) and "__version__" in file.code(parent.test):
            return True
        if isinstance(parent, cst.Else):
            above = file.parent(parent)
            if isinstance(above, cst.If) and "__version__" in file.code(above.test):
                return True
        parent = file.parent(parent)
    return False


def text_sizes(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """draw.textsize(text, font) and font.getsize(text): right and bottom of the text's box."""
    func = updated.func
    if not isinstance(func, cst.Attribute) or any(name.startswith("os.") for name in file.names(original.func)):
        return updated
    if file.defines_method(func.attr.value):
        return updated
    code, args = "", list(updated.args)
    if func.attr.value in ("textsize", "multiline_textsize"):
        box = func.attr.value.replace("size", "bbox")
        code = f"{file.code(func.value)}.{box}((0, 0), {_arguments(file, args)})[2:]"
    elif func.attr.value == "getsize" and file.uses("PIL.ImageFont") and args:
        code = f"{file.code(func.value)}.getbbox({_arguments(file, args)})[2:]"
    if not code:
        return updated
    new = expression(code)
    file.changed(TEXT, original, new)
    return new


def _arguments(file: File, args: Sequence[cst.Arg]) -> str:
    return ", ".join(file.code(arg.with_changes(comma=cst.MaybeSentinel.DEFAULT)) for arg in without_last_comma(args))


RULES: list[tuple[type, NodeRule]] = [
    (cst.Call, opencv),
    (cst.Call, text_sizes),
    (cst.Assign, contours),
    (cst.Subscript, contours_by_position),
]
