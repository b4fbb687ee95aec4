"""What the tensors of a function held in 2019: masks of zeros and ones, whole numbers, or fractions.

Only what is certain inside one function counts: a mask that is made and used there, a number that is an index by the way it
was found. The kinds that an expression is given here: "index" (whole numbers from 0), "int", "float", "mask", or None.
"""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst
from libcst import matchers as m

from .source import File, argument, dotted
from .tensor_words import (
    CASTS,
    COMPARISONS,
    DTYPES,
    FILLED,
    FILLED_METHODS,
    KEEP_TRUTH,
    MEASURE,
    ONE_MINUS,
    SHAPES,
    SUMS,
    TENSOR,
    UINT8,
    fractions,
    literal_kind,
)


class Scope:
    """A function, a class (for attributes of self) or a file's top level.

    Args:
        bools: identities of the nodes that make a uint8 tensor today and a bool one once rewritten; it may grow.
    """

    def __init__(self, file: File, node: cst.CSTNode, bools: set[int]):
        self.file, self.bools = file, bools
        self.own_names = not isinstance(node, cst.ClassDef)  # in a class, attributes of self alone
        self.beside_numpy = file.uses("numpy")  # x.argmax() may be an array's
        self.nodes = list(_walk(node, into_functions=not isinstance(node, cst.Module)))
        self.values: dict[str, list[tuple[cst.BaseExpression, int | None]]] = {}
        self.assumed: dict[str, str | None] = {}  # kinds of names whose own values are being looked at: i = i[:3]
        self.changed: set[str] = set()  # names of numbers, as something is added to them
        self.assumed_truth: set[str] = set()  # names whose own values are being looked at by `is_truth`
        self.parameters = {p.name.value for p in self.nodes if isinstance(p, cst.Param)}
        for inner in self.nodes:
            if isinstance(inner, cst.Assign):
                for target in inner.targets:
                    self._bind(target.target, inner.value)
            elif isinstance(inner, cst.For):
                self._bind(inner.target, None)
            elif isinstance(inner, cst.AugAssign) and not isinstance(inner.operator, KEEP_TRUTH):
                self.changed.add(self.name(inner.target))

    def _bind(self, target: cst.BaseExpression, value: cst.BaseExpression | None) -> None:
        if isinstance(target, (cst.Tuple, cst.List)):
            if isinstance(value, (cst.Tuple, cst.List)) and len(value.elements) == len(target.elements):
                for element, part in zip(target.elements, value.elements, strict=True):
                    self._bind(element.value, part.value)
                return
            for index, element in enumerate(target.elements):
                name = self.name(element.value)
                if name:
                    self.values.setdefault(name, []).append(
                        (value or cst.Name("None"), index if value is not None else -1)
                    )
            return
        name = self.name(target)
        if name:
            self.values.setdefault(name, []).append((value or cst.Name("None"), None))

    def name(self, node: cst.BaseExpression) -> str:
        """What the scope calls this value, "" if it is no name of the scope's."""
        name = dotted(node)
        return name if name.startswith("self.") or (self.own_names and "." not in name) else ""

    def kind(self, node: cst.BaseExpression, depth: int = 0) -> str | None:
        """One of the kinds above; `depth` counts how many names led here."""
        if depth > 8:
            return None
        name = self.name(node)
        if name:
            if name in self.parameters:
                return None
            return self.assumed[name] if name in self.assumed else self._name_kind(name, depth)
        if isinstance(node, cst.Call):
            return self._call_kind(node, depth)
        if isinstance(node, cst.Subscript):
            index = m.Subscript(slice=[m.SubscriptElement(slice=m.Index(value=m.Integer("1")))])
            if isinstance(node.value, cst.Call) and m.matches(node, index) and self._gives_indices(node.value):
                return "index"
            return self.kind(node.value, depth + 1)
        if isinstance(node, cst.Comparison):
            sides = (node.left, *(target.comparator for target in node.comparisons))
            tensors = any(self._is_tensor(side, depth) for side in sides)
            usual = not any(isinstance(t.operator, (cst.In, cst.NotIn, cst.Is, cst.IsNot)) for t in node.comparisons)
            return "mask" if tensors and usual else None
        if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.BitInvert):
            return "mask" if self.kind(node.expression, depth + 1) == "mask" else None
        if isinstance(node, cst.BinaryOperation):
            return self._operation_kind(node, depth)
        return None

    def is_truth(self, node: cst.BaseExpression, depth: int = 0) -> bool:
        """Whether this is a comparison (of tensors, arrays or numbers), put together from such, or a name for such alone."""
        if depth > 8:
            return False
        if self.kind(node, depth) == "mask":
            return True
        if name := self.name(node):
            if name in self.assumed_truth:
                return True
            values = self.values.get(name, ())
            if name in self.parameters or name in self.changed or not values:
                return False
            self.assumed_truth.add(name)
            found = all(index is None and self.is_truth(value, depth + 1) for value, index in values)
            self.assumed_truth.discard(name)
            return found
        if isinstance(node, cst.Comparison):
            return not any(isinstance(t.operator, (cst.In, cst.NotIn, cst.Is, cst.IsNot)) for t in node.comparisons)
        if isinstance(node, cst.UnaryOperation):
            return isinstance(node.operator, cst.BitInvert) and self.is_truth(node.expression, depth + 1)
        if isinstance(node, cst.BinaryOperation):
            if m.matches(node, ONE_MINUS):
                return self.is_truth(node.right, depth + 1)
            is_joined = isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor))
            return is_joined and self.is_truth(node.left, depth + 1) and self.is_truth(node.right, depth + 1)
        if isinstance(node, cst.Subscript):
            return self.is_truth(node.value, depth + 1)
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value in SHAPES:
            return not self.file.names(node.func) and self.is_truth(node.func.value, depth + 1)
        return False

    def is_made_bool(self, node: cst.BaseExpression) -> bool:
        """Whether this is a name that a tensor of uint8 is given to which is rewritten to bool."""
        values = self.values.get(self.name(node), ())
        return any(isinstance(value, cst.Call) and self._is_made_bool(value) for value, _ in values)

    def _name_kind(self, name: str, depth: int) -> str | None:
        """The kind of all its values; those made from the name itself (i = i[:3]) must keep the kind of the others."""
        values = self.values.get(name, ())
        selves = [self._mentions(value, name) for value, _ in values]
        kinds = {self._value_kind(*value, depth) for value, own in zip(values, selves, strict=True) if not own}
        if len(kinds) != 1:
            return None
        self.assumed[name] = kind = kinds.pop()
        kinds = {self._value_kind(*value, depth) for value, own in zip(values, selves, strict=True) if own}
        del self.assumed[name]
        return kind if kinds <= {kind} else None

    def _mentions(self, node: cst.CSTNode, name: str) -> bool:
        if isinstance(node, (cst.Name, cst.Attribute)) and self.name(node) == name:
            return True
        inner = [node.value] if isinstance(node, (cst.Attribute, cst.Arg)) else node.children
        return any(self._mentions(child, name) for child in inner)

    def _value_kind(self, value: cst.BaseExpression, index: int | None, depth: int) -> str | None:
        if index is None:
            return self.kind(value, depth + 1)
        return "index" if index == 1 and isinstance(value, cst.Call) and self._gives_indices(value) else None

    def _operation_kind(self, node: cst.BinaryOperation, depth: int) -> str | None:
        left, right = self.kind(node.left, depth + 1), self.kind(node.right, depth + 1)
        if isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor)):
            return "mask" if "mask" in (left, right) else None
        if "float" in (left, right):
            return "float"
        if isinstance(node.operator, cst.Divide):
            return left if self.drops_fraction(left, node.right, depth) else None
        whole = [
            k or ("index" if isinstance(n, cst.Integer) else None) for n, k in ((node.left, left), (node.right, right))
        ]
        if (
            None in whole
            or "mask" in whole
            or isinstance(node.left, cst.Integer)
            and isinstance(node.right, cst.Integer)
        ):
            return None
        if isinstance(node.operator, (cst.Add, cst.Multiply, cst.FloorDivide, cst.Modulo)):
            return "index" if whole == ["index", "index"] else "int"
        return "int" if isinstance(node.operator, cst.Subtract) else None

    def _gives_indices(self, call: cst.Call) -> bool:
        """Whether the second of its results are indices."""
        method = call.func.attr.value if isinstance(call.func, cst.Attribute) else ""
        names = self.file.names(call.func)
        if names & {"torch.topk", "torch.sort"} or (method in ("topk", "sort") and not names):
            return True
        with_dimension = len(call.args) > (1 if names else 0)
        return bool((names & {"torch.max", "torch.min"} or (method in ("max", "min") and not names)) and with_dimension)

    def _call_kind(self, node: cst.Call, depth: int) -> str | None:
        names = self.file.names(node.func)
        method = node.func.attr.value if isinstance(node.func, cst.Attribute) else ""
        if names & {"torch.nonzero", "torch.argmax", "torch.argmin", "torch.argsort"}:
            return "index"
        if names & {f"torch.{comparison}" for comparison in COMPARISONS}:
            return "mask"
        dtype = argument(node, "dtype")
        if names & {"torch.arange", "torch.randperm"} and dtype is None:
            return self._range_kind(node)
        if names & {*FILLED, *TENSOR, "torch.arange", "torch.randperm"}:
            if self._is_made_bool(node):
                return "mask"
            if names & TENSOR and dtype is None and node.args:
                return literal_kind(node.args[0].value)
            kinds = {DTYPES[n] for n in self.file.names(dtype.value) if n in DTYPES} if dtype is not None else set()
            return kinds.pop() if len(kinds) == 1 else None
        if "torch.randint" in names and dtype is None:
            return "int"
        if names & set(DTYPES):
            return DTYPES[names.pop()]  # torch.LongTensor([0, 1])
        first = node.args[0].value if node.args else None
        if names & {"torch.cat", "torch.stack"} and isinstance(first, (cst.List, cst.Tuple)):
            joined = {self.kind(element.value, depth + 1) for element in first.elements}
            return joined.pop() if len(joined) == 1 else None
        if first is not None and dtype is None and names & {f"torch.{name}" for name in SUMS | SHAPES}:
            kind = "mask" if self.is_truth(first, depth + 1) else self.kind(first, depth + 1)
            return "index" if kind == "mask" and names & {f"torch.{name}" for name in SUMS} else kind
        if names or not isinstance(node.func, cst.Attribute):
            return None
        base = node.func.value
        if self._is_made_bool(node):
            return "mask"
        if method in ("nonzero", "argmax", "argmin", "argsort") and not self.beside_numpy:
            return "index"
        if method in SHAPES and m.matches(base, m.Call(func=m.Attribute(attr=m.Name("nonzero")), args=[])):
            return self.kind_of_tensor(base)  # NumPy's nonzero gives a tuple, which has no shape
        if method in COMPARISONS and len(node.args) == 1:
            return "mask"
        if method in CASTS and not node.args:
            return CASTS[method]
        if method in ("to", "type"):
            arg = argument(node, "dtype", 0)
            kinds = {DTYPES[n] for n in self.file.names(arg.value) if n in DTYPES} if arg is not None else set()
            return kinds.pop() if len(kinds) == 1 else self.kind(base, depth + 1)
        if method in SUMS and dtype is None:
            if self.is_truth(base, depth + 1) and not self.beside_numpy:
                return "index"  # a comparison of numbers has no such method
            kind = self.kind(base, depth + 1)
            return "index" if kind == "mask" else kind
        return self.kind(base, depth + 1) if method in SHAPES else None

    def _is_made_bool(self, node: cst.Call) -> bool:
        """Whether this makes a uint8 tensor that is rewritten to a bool one."""
        return any(id(made) in self.bools for made in self.uint8_makers(node))

    def drops_fraction(self, left: str | None, right: cst.BaseExpression, depth: int = 0) -> bool:
        """Whether a division of a tensor of this kind was one of whole numbers to the torch of the fork."""
        if left not in ("index", "int") or self.file.facts.recent_torch:
            return False
        return not isinstance(right, cst.Float) and self.kind(right, depth + 1) != "float"

    def kind_of_tensor(self, node: cst.BaseExpression) -> str | None:
        """The kind if what may be an array of NumPy's is a tensor."""
        before, self.beside_numpy = self.beside_numpy, False
        kind = self.kind(node)
        self.beside_numpy = before
        return kind

    def uint8_makers(self, value: cst.CSTNode) -> list[cst.CSTNode]:
        """The piece of an expression that makes a uint8 tensor: a dtype, or the call of byte()."""
        if not isinstance(value, cst.Call):
            return []
        method = value.func.attr.value if isinstance(value.func, cst.Attribute) else ""
        if method == "byte" and not value.args:
            return [value]
        if self.file.names(value.func) & UINT8 and value.args:
            return [value.func]  # torch.ByteTensor([0, 1])
        if self.file.names(value.func) & {*FILLED, *TENSOR} or method in FILLED_METHODS:
            arg = argument(value, "dtype")
        elif method in ("to", "type"):
            arg = argument(value, "dtype", 0)
        else:
            # x.byte().view(-1): what makes the tensor is further in.
            if isinstance(value.func, cst.Attribute) and method in SHAPES:
                return self.uint8_makers(value.func.value)
            return []
        return [arg.value] if arg is not None and self.file.names(arg.value) & UINT8 else []

    def _range_kind(self, call: cst.Call) -> str | None:
        """Of torch.arange and randperm without a dtype: whole numbers, if all that they are given seem to be."""
        numbers = [a for a in call.args if a.keyword is None or a.keyword.value in ("start", "end", "step", "n")]
        if not numbers or any(a.star or not self._seems_whole(a.value) for a in numbers):
            return None
        return "index" if len(numbers) == 1 else "int"

    def _seems_whole(self, node: cst.BaseExpression) -> bool:
        """A literal, a name that nothing gives a fraction, or a measure of a shape."""
        if isinstance(node, cst.UnaryOperation):
            return isinstance(node.expression, cst.Integer)
        if dotted(node):
            return dotted(node) not in fractions(self.file)
        return m.matches(node, m.Integer() | MEASURE)

    def _is_tensor(self, node: cst.BaseExpression, depth: int) -> bool:
        if self.kind(node, depth + 1) is not None:
            return True
        if isinstance(node, cst.Call):
            return any(name.startswith("torch.") for name in self.file.names(node.func))
        return False


def _walk(node: cst.CSTNode, into_functions: bool) -> Iterator[cst.CSTNode]:
    for child in node.children:
        yield child
        if into_functions or not isinstance(child, (cst.FunctionDef, cst.ClassDef)):
            yield from _walk(child, into_functions)
