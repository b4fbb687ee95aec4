"""Calls of Python's library, PyYAML and NumPy that today's versions refuse, and Python 2's methods of dictionaries."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from ..source import File, NodeRule, argument, expression
from .names import Rule
from .torch_calls import _with_arg

YAML = Rule("yaml.load", "PyYAML 6 wants to be told a Loader; FullLoader is what it chose before.")
ARGSPEC = Rule("inspect.getargspec", "Python 3.11 has getfullargspec alone; what was called keywords is varkw.")
LOCAL_RANK = Rule(
    "--local_rank", "torchrun gives the rank in LOCAL_RANK; torch.distributed.launch writes --local-rank today."
)
DICTIONARY = Rule(
    "dictionaries' iterators", "Python 3's keys, values and items are views, which iteritems and its kind were."
)
HAS_KEY = Rule("has_key", "Python 3's dictionaries have `in` alone.")
BUILTINS = Rule("Python 2's built-in names", "Python 3 has these under another name.")
NUMPY = Rule("numpy's functions", "NumPy 2 removed these functions; the expression is what they were.")

VERSION = Rule(
    "version numbers", "Versions read 2.14.1+cu130 and 5.0.0 today: the part after + is no number, and 5 comes after 4."
)

RENAMED_BUILTINS = {
    "xrange": "range",
    "unicode": "str",
    "raw_input": "input",
    "basestring": "str",
    "unichr": "chr",
    "long": "int",
}


def yaml_load(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if not file.calls(original, "yaml.load", "yaml.load_all") or argument(original, "Loader", 1) is not None:
        return updated
    if any(arg.star == "**" for arg in original.args):
        return updated
    new = _with_arg(updated, f"Loader={file.module_name('yaml', original.func)}.FullLoader")
    file.changed(YAML, original, new)
    return new


def getargspec(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if not file.calls(original, "inspect.getargspec"):
        return updated
    function = expression(f"{file.module_name('inspect', original.func)}.getfullargspec")
    new: cst.BaseExpression = updated.with_changes(func=function)
    parent = file.parent(original)
    targets = parent.targets if isinstance(parent, cst.Assign) else ()
    if any(isinstance(target.target, (cst.Tuple, cst.List)) for target in targets):
        new = expression(f"{file.code(new)}[:4]")  # args, varargs, keywords, defaults
    file.changed(ARGSPEC, original, new)
    return new


def keywords_of_argspec(file: File, original: cst.Attribute, updated: cst.Attribute) -> cst.BaseExpression:
    if original.attr.value == "keywords" and file.calls(original.value, "inspect.getargspec"):
        return updated.with_changes(attr=cst.Name("varkw"))
    return updated


def local_rank(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """add_argument("--local_rank"): both spellings, and the environment's number where it is not given."""
    if not m.matches(original.func, m.Attribute(attr=m.Name("add_argument"))) or not original.args:
        return updated
    flags = [
        a.value.evaluated_value for a in original.args if a.keyword is None and isinstance(a.value, cst.SimpleString)
    ]
    if "--local_rank" not in flags:
        return updated
    file.need_import("os", original)
    from_environment = expression('int(os.environ.get("LOCAL_RANK", 0))')
    args = []
    for arg in updated.args:
        if arg.keyword is not None and arg.keyword.value == "default" and not m.findall(arg.value, m.Name("environ")):
            arg = arg.with_changes(value=from_environment)
        args.append(arg)
        if (
            arg.keyword is None
            and "--local-rank" not in flags
            and getattr(arg.value, "evaluated_value", "") == "--local_rank"
        ):
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
            args[-1] = arg.with_changes(comma=comma)
            args.append(cst.Arg(cst.SimpleString('"--local-rank"'), comma=arg.comma))
    new = updated.with_changes(args=args)
    if argument(original, "default") is None:
        new = _with_arg(new, f"default={file.code(from_environment)}")
    if new.deep_equals(updated):
        return updated
    file.changed(LOCAL_RANK, original, new)
    return new


def iterators(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """d.iteritems() and its kind; six.iteritems(d) is a function and stays."""
    func = updated.func
    if original.args or not isinstance(func, cst.Attribute):
        return updated
    new_name = {"iteritems": "items", "itervalues": "values", "iterkeys": "keys", "viewitems": "items"}.get(
        func.attr.value
    )
    if new_name is None or file.defines_method(func.attr.value):
        return updated
    new = updated.with_changes(func=func.with_changes(attr=cst.Name(new_name)))
    file.changed(DICTIONARY, original, new)
    return new


def has_key(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if not m.matches(original, m.Call(func=m.Attribute(attr=m.Name("has_key")), args=[m.Arg()])) or file.uses("six"):
        return updated
    if file.defines_method("has_key"):
        return updated
    base = cst.ensure_type(updated.func, cst.Attribute).value
    new = expression(f"({file.code(updated.args[0].value)} in {file.code(base)})")
    file.changed(HAS_KEY, original, new)
    return new


def builtin_names(file: File, original: cst.Name, updated: cst.Name) -> cst.BaseExpression:
    """Where the file itself binds no such name."""
    new_name = RENAMED_BUILTINS.get(original.value)
    if new_name is None or not file.is_unbound(original):
        return updated
    file.changed(BUILTINS, original, new_name)
    return updated.with_changes(value=new_name)


def numpy_functions(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    plain = [file.code(arg.value) for arg in updated.args if arg.keyword is None and not arg.star]
    names = file.names(original.func)
    if names.isdisjoint(f"numpy.{name}" for name in ("asscalar", "msort", "asfarray", "in1d")):
        return updated
    code, numpy = "", file.module_name("numpy", original.func)
    if "numpy.asscalar" in names and len(plain) == 1:
        code = f"({plain[0]}).item()"
    elif "numpy.msort" in names and len(plain) == 1:
        code = f"{numpy}.sort({plain[0]}, axis=0)"
    elif "numpy.asfarray" in names and len(plain) == 1:
        code = f"{numpy}.asarray({plain[0]}, dtype=float)"
    elif "numpy.in1d" in names and len(plain) == 2:
        rest = "".join(f", {file.code(arg)}".rstrip(", ") for arg in updated.args[2:])
        code = f"{numpy}.isin({numpy}.ravel({plain[0]}), {plain[1]}{rest})"
    if not code:
        return updated
    new = expression(code)
    file.changed(NUMPY, original, new)
    return new


def version_parts(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """module.__version__.split("."): the numbers before the +."""
    pattern = m.Call(
        func=m.Attribute(value=m.Attribute(attr=m.Name("__version__")), attr=m.Name("split")), args=[m.Arg()]
    )
    if not m.matches(original, pattern) or getattr(original.args[0].value, "evaluated_value", None) != ".":
        return updated
    func = cst.ensure_type(updated.func, cst.Attribute)
    new = updated.with_changes(func=func.with_changes(value=expression(f'{file.code(func.value)}.split("+")[0]')))
    file.changed(VERSION, original, new)
    return new


def opencv_version(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """cv2.__version__.startswith("4"), which means 4 or later where it chooses between OpenCV 3 and what came then."""
    func = original.func
    if not isinstance(func, cst.Attribute) or func.attr.value != "startswith" or len(original.args) != 1:
        return updated
    if "cv2.__version__" not in file.names(func.value):
        return updated
    if getattr(original.args[0].value, "evaluated_value", None) not in ("4", "4."):
        return updated
    version = file.code(cst.ensure_type(updated.func, cst.Attribute).value)
    new = expression(f'(int({version}.split(".")[0]) >= 4)')
    file.changed(VERSION, original, new)
    return new


RULES: list[tuple[type, NodeRule]] = [
    (cst.Call, version_parts),
    (cst.Call, opencv_version),
    (cst.Call, yaml_load),
    (cst.Call, getargspec),
    (cst.Attribute, keywords_of_argspec),
    (cst.Call, local_rank),
    (cst.Call, iterators),
    (cst.Call, has_key),
    (cst.Name, builtin_names),
    (cst.Call, numpy_functions),
]
