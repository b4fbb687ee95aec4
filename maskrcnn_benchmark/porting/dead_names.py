"""Dead names that no rule knows: dotted names of installed modules that resolve to nothing, by file and line."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from types import ModuleType

# Modules whose names are looked up, where installed; others that are installed are looked up too when a file imports from them.
NOT_IMPORTED = {"this", "antigravity", "idlelib", "turtledemo", "__main__"}
# Dead wherever they are looked up: not installed, or there but they raise whatever they are given.
ALWAYS_DEAD = {
    "torch.eig": "it was removed in torch 1.9; torch.linalg.eig returns complex tensors",
    "torch.lstsq": "it was removed in torch 1.9; torch.linalg.lstsq takes its arguments in the other order",
    "torch.solve": "it was removed in torch 1.9; torch.linalg.solve takes its arguments in the other order",
    "torch.symeig": "it was removed in torch 1.9; torch.linalg.eigh does it",
    "torch.qr": "it was removed in torch 1.9; torch.linalg.qr does it",
    "torch.cholesky": "it was removed in torch 1.9; torch.linalg.cholesky does it",
    "torch.matrix_rank": "it was removed in torch 1.9; torch.linalg.matrix_rank does it",
    **{
        f"scipy.misc.{name}": "SciPy 1.3 removed it; Pillow, OpenCV or imageio does it"
        for name in (
            "imread",
            "imsave",
            "imresize",
            "imrotate",
            "imshow",
            "imfilter",
            "bytescale",
            "toimage",
            "fromimage",
        )
    },
    "scipy.interpolate.interp2d": "SciPy 1.14 removed it; RegularGridInterpolator or RectBivariateSpline does it",
    "apex.fp16_utils": "ported code has no apex; torch.amp does what it did",
    "apex.multi_tensor_apply": "ported code has no apex; torch's _foreach functions do what it did",
}
# Methods of tensors that are gone or raise.
DEAD_METHODS = {
    "symeig": "torch 1.9 removed it; torch.linalg.eigh does it",
    "lstsq": "torch 1.9 removed it; torch.linalg.lstsq takes its arguments in the other order",
    "gels": "torch 1.2 removed it; torch.linalg.lstsq takes its arguments in the other order",
    "gesv": "torch 1.2 removed it; torch.linalg.solve takes its arguments in the other order",
    "potrf": "torch 1.2 removed it; torch.linalg.cholesky does it",
}
# Removed, or about to be, in a Python that is supported, whether or not this one still has it.
REMOVED_MODULES = {
    "imp",
    "distutils",
    "pkg_resources",
    "asynchat",
    "asyncore",
    "cgi",
    "telnetlib",
    "pipes",
    "crypt",
    "lib2to3",
}
PYTHON_2_BUILTINS = {
    "xrange",
    "unicode",
    "raw_input",
    "basestring",
    "unichr",
    "execfile",
    "reload",
    "cmp",
    "reduce",
    "long",
}


@dataclass(frozen=True)
class Dead:
    """A name that today's modules lack.

    Attributes:
        line: of the rewritten file.
        why: what is known about it.
        guarded: it is inside a `try` that catches its absence.
    """

    path: str
    line: int
    name: str
    why: str
    guarded: bool = False


def find(path: str, text: str, own: tuple[str, ...]) -> tuple[list[Dead], dict[str, int]]:
    """Dead names of a file, and the third-party modules that it imports and that are not installed, with a line each.

    Args:
        own: packages of the fork: their names are the business of the imports themselves.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return [], {}  # reported when it was rewritten
    scan = _Scan(path, own)
    scan.visit(tree)
    return scan.dead, scan.absent


class _Scan(ast.NodeVisitor):
    def __init__(self, path: str, own: tuple[str, ...]):
        self.path, self.own = path, own
        self.bound: dict[str, str] = {}  # local name -> dotted name
        self.rebound: set[str] = set()
        self.dead: list[Dead] = []
        self.absent: dict[str, int] = {}
        self.guards = 0

    def visit_Module(self, node: ast.Module) -> None:
        # Names first: a function may use what the file imports further down.
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import):
                for alias in inner.names:
                    top = alias.name.split(".")[0]
                    self.bound[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(inner, ast.ImportFrom) and inner.level == 0 and inner.module:
                for alias in inner.names:
                    self.bound[alias.asname or alias.name] = f"{inner.module}.{alias.name}"
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, (ast.Store, ast.Del)):
                self.rebound.add(inner.id)
            elif isinstance(inner, ast.arg):
                self.rebound.add(inner.arg)
            elif isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                self.rebound.add(inner.name)
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        catches = any(_catches_absence(handler) for handler in node.handlers)
        self.guards += catches
        for statement in node.body:
            self.visit(statement)
        self.guards -= catches
        for rest in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(rest)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._check(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0 and node.module:
            for alias in node.names:
                self._check(node.module if alias.name == "*" else f"{node.module}.{alias.name}", node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = [node.attr]
        root = node.value
        while isinstance(root, ast.Attribute):
            parts.append(root.attr)
            root = root.value
        if isinstance(root, ast.Name) and root.id in self.bound and root.id not in self.rebound:
            self._check(".".join([self.bound[root.id], *reversed(parts)]), node.lineno)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        func = node.func
        if isinstance(func, ast.Attribute) and func.attr in DEAD_METHODS and self._may_be_tensor(func):
            why = DEAD_METHODS[func.attr]
            self.dead.append(Dead(self.path, node.lineno, f"Tensor.{func.attr}", why, self.guards > 0))
        if self._dotted(func) == "torch.fft":
            why = "torch.fft is a module since torch 1.8; torch.view_as_real(torch.fft.fftn(...)) gives what the function gave"
            self.dead.append(Dead(self.path, node.lineno, "torch.fft()", why, self.guards > 0))
        self.generic_visit(node)

    def _may_be_tensor(self, method: ast.Attribute) -> bool:
        """Whether this may be a tensor's method: not a function of a module, nor a method that the file defines."""
        root = method.value
        while isinstance(root, ast.Attribute):
            root = root.value
        of_module = isinstance(root, ast.Name) and root.id in self.bound and root.id not in self.rebound
        uses_torch = any(name.split(".")[0] == "torch" for name in self.bound.values())
        return uses_torch and not of_module and method.attr not in self.rebound

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in PYTHON_2_BUILTINS and node.id not in self.rebound and node.id not in self.bound:
            if not hasattr(builtins, node.id):
                self.dead.append(Dead(self.path, node.lineno, node.id, "Python 3 has no such name", self.guards > 0))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = {self._dotted(base) for base in node.bases}
        if bases & {"torch.autograd.Function", "torch.autograd.function.Function"}:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "forward" and not method.decorator_list:
                    self.dead.append(
                        Dead(
                            self.path,
                            method.lineno,
                            f"{node.name}.forward",
                            "torch runs functions of autograd with static methods alone: forward(ctx, ...), backward(ctx, ...) "
                            "and .apply(...)",
                        )
                    )
        self.generic_visit(node)

    def _dotted(self, node: ast.expr) -> str:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        return ".".join([self.bound.get(node.id, node.id), *reversed(parts)]) if isinstance(node, ast.Name) else ""

    def _check(self, name: str, line: int) -> None:
        parts = name.split(".")
        if parts[0] in self.own or parts[0] in NOT_IMPORTED or name.startswith("torch.ops."):
            return
        if parts[0] in REMOVED_MODULES:
            self.dead.append(Dead(self.path, line, name, f"Python or setuptools removed {parts[0]}", self.guards > 0))
            return
        found = resolve(tuple(parts))
        if found == parts[0] and found not in sys.stdlib_module_names:
            self.absent.setdefault(found, line)
        for end in range(2, len(parts) + 1):
            why = ALWAYS_DEAD.get(".".join(parts[:end]))
            if why:
                self.dead.append(Dead(self.path, line, ".".join(parts[:end]), why, self.guards > 0))
                return
        if found and found != parts[0]:
            why = f"{found.rpartition('.')[0]} has no {found.rpartition('.')[2]}"
            self.dead.append(Dead(self.path, line, found, why, self.guards > 0))


def _catches_absence(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
    return handler.type is None or bool(
        names & {"ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "Exception", "BaseException"}
    )


@cache
def resolve(parts: tuple[str, ...]) -> str:
    """The part of a dotted name that does not exist, "" if all of it does; the first part alone: not installed."""
    value = _import(parts[0])
    if value is None:
        return "" if _exists(parts[0]) else parts[0]
    for end in range(1, len(parts)):
        if not isinstance(value, (ModuleType, type)):
            return ""  # of an instance nothing is known
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if hasattr(value, parts[end]):
                value = getattr(value, parts[end])
                continue
        name = ".".join(parts[: end + 1])
        value = _import(name) if isinstance(value, ModuleType) else None
        if value is None:
            return "" if _exists(name) else name
    return ""


def _exists(name: str) -> bool:
    """Whether there is such a module, though it cannot be imported here: it may lack a package of its own."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


@cache
def _import(name: str) -> ModuleType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except BaseException:  # whatever a third party's module does when it is imported
        return None
