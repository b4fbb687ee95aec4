"""What the tensors of a function held in 2019: masks of zeros and ones, whole numbers, or fractions; and what follows from it.

Only what is certain inside one function counts: a mask that is made and used there, a number that is an index by the way it
was found. The kinds that an expression is given here: "index" (whole numbers from 0), "int", "float", "mask", or None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst
from libcst import matchers as m

from .rewriting import File, argument, dotted

UINT8 = {"torch.uint8", "torch.ByteTensor", "torch.cuda.ByteTensor"}
FILLED = {"torch.zeros", "torch.ones", "torch.zeros_like", "torch.ones_like", "torch.full", "torch.full_like"}
TENSOR = {"torch.tensor", "torch.as_tensor"}
FILLED_METHODS = {"new_zeros", "new_ones", "new_full"}
MASK_METHODS = {"masked_fill": 0, "masked_fill_": 0, "masked_select": 0, "masked_scatter": 0, "masked_scatter_": 0}
MASK_FUNCTIONS = {"torch.masked_select": 1, "torch.masked_fill": 1, "torch.where": 0}
COMPARISONS = {"eq", "ne", "gt", "lt", "ge", "le"}
SHAPES = set("squeeze unsqueeze view reshape flatten contiguous clone detach t permute expand cpu cuda".split())
SUMS = {"sum", "cumsum", "prod", "abs", "clamp"}
CASTS = {
    "long": "int",
    "int": "int",
    "short": "int",
    "float": "float",
    "double": "float",
    "half": "float",
    "bool": "mask",
}
DTYPES = {
    **dict.fromkeys(
        ("torch.int64", "torch.long", "torch.int32", "torch.int", "torch.LongTensor", "torch.IntTensor"), "int"
    ),
    **dict.fromkeys(
        ("torch.float32", "torch.float", "torch.float64", "torch.double", "torch.float16", "torch.half"), "float"
    ),
}


MEASURE = m.Call(func=m.Name("len") | m.Attribute(attr=m.Name("size") | m.Name("numel"))) | m.Subscript(
    value=m.Attribute(attr=m.Name("shape"))
)


@dataclass
class Plan:
    """What to rewrite in a file, by the identity of its nodes."""

    to_bool: set[int] = field(default_factory=set)  # dtypes and calls of byte()
    invert: dict[int, str] = field(default_factory=dict)  # "~", or "== 0" where it may be no tensor
    divide: dict[int, str] = field(default_factory=dict)  # "floor" or "trunc", or "" where it may be no tensor
    counts: set[int] = field(default_factory=set)  # what asks how many masks hold


def plan(file: File) -> Plan:
    if "tensors" not in file.memo:
        made = file.memo["tensors"] = Plan()
        if file.uses("torch"):
            for scope in (file.module, *m.findall(file.module, m.FunctionDef() | m.ClassDef())):
                _Scope(file, scope, made).decide()
    return file.memo["tensors"]


class _Scope:
    """A function, a class (for attributes of self) or a file's top level."""

    def __init__(self, file: File, node: cst.CSTNode, made: Plan):
        self.file, self.made = file, made
        self.own_names = not isinstance(node, cst.ClassDef)  # in a class, attributes of self alone
        self.beside_numpy = file.uses("numpy")  # x.argmax() may be an array's
        self.nodes = list(_walk(node, into_functions=not isinstance(node, cst.Module)))
        self.values: dict[str, list[tuple[cst.BaseExpression, int | None]]] = {}
        self.assumed: dict[str, str | None] = {}  # kinds of names whose own values are being looked at: i = i[:3]
        self.parameters = {p.name.value for p in self.nodes if isinstance(p, cst.Param)}
        for inner in self.nodes:
            if isinstance(inner, cst.Assign):
                for target in inner.targets:
                    self._bind(target.target, inner.value)
            elif isinstance(inner, cst.For):
                self._bind(inner.target, None)

    def _bind(self, target: cst.BaseExpression, value: cst.BaseExpression | None) -> None:
        if isinstance(target, (cst.Tuple, cst.List)):
            if isinstance(value, (cst.Tuple, cst.List)) and len(value.elements) == len(target.elements):
                for element, part in zip(target.elements, value.elements, strict=True):
                    self._bind(element.value, part.value)
                return
            for index, element in enumerate(target.elements):
                name = self._name(element.value)
                if name:
                    self.values.setdefault(name, []).append(
                        (value or cst.Name("None"), index if value is not None else -1)
                    )
            return
        name = self._name(target)
        if name:
            self.values.setdefault(name, []).append((value or cst.Name("None"), None))

    def _name(self, node: cst.BaseExpression) -> str:
        name = dotted(node)
        return name if name.startswith("self.") or (self.own_names and "." not in name) else ""

    def decide(self) -> None:
        made: dict[str, list[cst.CSTNode]] = {}
        for name, values in self.values.items():
            parts = [part for value, index in values if index is None for part in _parts(value)]
            made[name] = [made_by for part in parts for made_by in self._uint8(part)]
        wanted = set()
        for place in self._mask_places():
            for part in _parts(place):
                wanted.add(self._name(part))
                self.made.to_bool |= {id(found) for found in self._uint8(part)}
        for name, nodes in made.items():
            if nodes and (name in wanted or self._holds_truth(name)):
                self.made.to_bool |= {id(node) for node in nodes}
        for node in self.nodes:
            if isinstance(node, cst.IfExp):
                self._choice(node)
            elif isinstance(node, cst.BinaryOperation):
                self._operation(node)
            elif isinstance(node, (cst.Comparison, cst.Call)) and self._counts_masks(node):
                self.made.counts.add(id(node))
            elif isinstance(node, cst.AugAssign) and isinstance(node.operator, cst.DivideAssign):
                if self.kind(node.target) in ("index", "int") and not self.file.facts.recent_torch:
                    self.made.divide[id(node)] = "floor"
            if isinstance(node, cst.Call):
                self._division_call(node)

    def _counts_masks(self, node: cst.Comparison | cst.Call) -> bool:
        """(a > 0) + (b > 0) == 2, or a call that adds up or casts such a sum."""
        if isinstance(node, cst.Call):
            asked = self._called(node, SUMS | set(CASTS) - {"bool"})
            return asked is not None and self._adds_masks(asked)
        sides = [node.left, *(target.comparator for target in node.comparisons)]
        numbers = [s for s in sides if isinstance(s, (cst.Integer, cst.Float))]
        return bool(numbers) and any(map(self._adds_masks, sides))

    def _adds_masks(self, node: cst.BaseExpression) -> bool:
        """Whether this is a sum of masks, or a name for such sums alone."""
        name = self._name(node)
        if name:
            values = [value for value, _ in self.values.get(name, ())]
            return bool(values) and all(not self._name(value) and self._adds_masks(value) for value in values)
        return (
            isinstance(node, cst.BinaryOperation)
            and isinstance(node.operator, cst.Add)
            and all(isinstance(term, cst.Comparison) or self.kind(term) == "mask" for term in _terms(node))
        )

    def _called(self, node: cst.Call, names: set[str]) -> cst.BaseExpression | None:
        """The tensor that is given to a method of one of these names, or to torch's function of that name."""
        functions = self.file.names(node.func)
        if functions:
            return node.args[0].value if node.args and functions & {f"torch.{name}" for name in names} else None
        return node.func.value if isinstance(node.func, cst.Attribute) and node.func.attr.value in names else None

    def _division_call(self, node: cst.Call) -> None:
        """a.long().div(3), which no array of NumPy's has."""
        left = self._called(node, {"div", "div_"})
        right = argument(node, "other", 1 if self.file.names(node.func) else 0)
        if left is None or right is None or argument(node, "rounding_mode") is not None:
            return
        if self._drops_fraction(self._kind_of_tensor(left), right.value):
            self.made.divide[id(node)] = "trunc"

    def _choice(self, node: cst.IfExp) -> None:
        """ones if condition else zeros: truth for every element, whoever uses it."""
        arms = [arm for arm in (node.body, node.orelse) if isinstance(arm, cst.Call)]
        names = [_last_name(arm.func) for arm in arms]
        if len(arms) == 2 and all(
            n in ("ones", "zeros", "ones_like", "zeros_like", "new_ones", "new_zeros") for n in names
        ):
            self.made.to_bool |= {id(found) for arm in arms for found in self._uint8(arm)}

    def _operation(self, node: cst.BinaryOperation) -> None:
        if isinstance(node.operator, cst.Subtract) and m.matches(
            node.left, m.Integer("1") | m.Float("1.0") | m.Float("1.")
        ):
            if self.kind(node.right) == "mask":
                self.made.invert[id(node)] = "~"
            elif isinstance(node.right, cst.Comparison):
                if not self.file.uses("numpy"):
                    self.made.invert[id(node)] = "== 0"
                elif id(node) not in self.made.invert:
                    self.made.invert[id(node)] = ""
        elif self.file.facts.recent_torch:
            return
        elif isinstance(node.operator, cst.Divide):
            kind = self.kind(node.left)
            if self._drops_fraction(kind, node.right):
                self.made.divide[id(node)] = "floor" if kind == "index" else "trunc"
            elif kind is None and self._drops_fraction(self._kind_of_tensor(node.left), node.right):
                self.made.divide.setdefault(id(node), "")
        elif isinstance(node.operator, cst.FloorDivide) and self.kind(node.left) in ("int", "float"):
            self.made.divide[id(node)] = "trunc"

    def _drops_fraction(self, left: str | None, right: cst.BaseExpression, depth: int = 0) -> bool:
        """Whether a division of a tensor of this kind was one of whole numbers to the torch of the fork."""
        if left not in ("index", "int") or self.file.facts.recent_torch:
            return False
        return not isinstance(right, cst.Float) and self.kind(right, depth + 1) != "float"

    def _kind_of_tensor(self, node: cst.BaseExpression) -> str | None:
        """The kind if what may be an array of NumPy's is a tensor."""
        before, self.beside_numpy = self.beside_numpy, False
        kind = self.kind(node)
        self.beside_numpy = before
        return kind

    def _uint8(self, value: cst.CSTNode) -> list[cst.CSTNode]:
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
            return self._uint8(value.func.value) if method in SHAPES and isinstance(value.func, cst.Attribute) else []
        return [arg.value] if arg is not None and self.file.names(arg.value) & UINT8 else []

    def _mask_places(self) -> Iterator[cst.BaseExpression]:
        """Expressions that stand where torch takes a mask."""
        for node in self.nodes:
            if isinstance(node, cst.Subscript):
                for element in node.slice:
                    if isinstance(element.slice, cst.Index):
                        yield element.slice.value
            elif isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.BitInvert):
                yield node.expression
            elif isinstance(node, cst.Call):
                method = node.func.attr.value if isinstance(node.func, cst.Attribute) else ""
                functions = self.file.names(node.func) & set(MASK_FUNCTIONS)
                if functions:
                    arg = argument(node, "mask", MASK_FUNCTIONS[functions.pop()])
                elif method in MASK_METHODS and not self.file.names(node.func):
                    arg = argument(node, "mask", MASK_METHODS[method])
                else:
                    continue
                if arg is not None:
                    yield arg.value

    def _holds_truth(self, name: str) -> bool:
        """Whether 0 and 1 are all that is ever written into a tensor filled with a constant, and nothing computes with it."""
        values = [value for value, index in self.values[name] if index is None]
        made_filled = all(isinstance(v, cst.Call) and argument(v, "dtype") is not None for v in values)
        made_filled &= not any(self.file.names(v.func) & TENSOR for v in values if isinstance(v, cst.Call))
        stored = []
        for node in self.nodes:
            if isinstance(node, cst.Assign):
                for target in node.targets:
                    if isinstance(target.target, cst.Subscript) and self._name(target.target.value) == name:
                        stored.append(node.value)
            elif isinstance(node, cst.Attribute) and node.attr.value == "numpy" and self._name(node.value) == name:
                return False
            elif isinstance(node, cst.BinaryOperation) and isinstance(
                node.operator, (cst.Multiply, cst.Add, cst.Subtract)
            ):
                if name in (self._name(node.left), self._name(node.right)):
                    return False
        truth = m.Integer("0") | m.Integer("1") | m.Name("True") | m.Name("False")
        return made_filled and bool(stored) and all(m.matches(value, truth) for value in stored)

    def kind(self, node: cst.BaseExpression, depth: int = 0) -> str | None:
        if depth > 8:
            return None
        name = self._name(node)
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
        if isinstance(node, (cst.Name, cst.Attribute)) and self._name(node) == name:
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
            return left if self._drops_fraction(left, node.right, depth) else None
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
                return _literal_kind(node.args[0].value)
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
            kind = self.kind(first, depth + 1)
            return "index" if kind == "mask" and names & {f"torch.{name}" for name in SUMS} else kind
        if names or not isinstance(node.func, cst.Attribute):
            return None
        base = node.func.value
        if self._is_made_bool(node):
            return "mask"
        if method in ("nonzero", "argmax", "argmin", "argsort") and not self.beside_numpy:
            return "index"
        if method in SHAPES and m.matches(base, m.Call(func=m.Attribute(attr=m.Name("nonzero")), args=[])):
            return self._kind_of_tensor(base)  # NumPy's nonzero gives a tuple, which has no shape
        if method in COMPARISONS and len(node.args) == 1:
            return "mask"
        if method in CASTS and not node.args:
            return CASTS[method]
        if method in ("to", "type"):
            arg = argument(node, "dtype", 0)
            kinds = {DTYPES[n] for n in self.file.names(arg.value) if n in DTYPES} if arg is not None else set()
            return kinds.pop() if len(kinds) == 1 else self.kind(base, depth + 1)
        if method in SUMS and dtype is None:
            if isinstance(base, cst.Comparison) and not self.beside_numpy:
                return "index"  # a comparison of numbers has no such method
            kind = self.kind(base, depth + 1)
            return "index" if kind == "mask" else kind
        return self.kind(base, depth + 1) if method in SHAPES else None

    def _is_made_bool(self, node: cst.Call) -> bool:
        """Whether this makes a uint8 tensor that is rewritten to a bool one."""
        return any(id(made) in self.made.to_bool for made in self._uint8(node))

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
            return dotted(node) not in _fractions(self.file)
        return m.matches(node, m.Integer() | MEASURE)

    def _is_tensor(self, node: cst.BaseExpression, depth: int) -> bool:
        if self.kind(node, depth + 1) is not None:
            return True
        if isinstance(node, cst.Call):
            return any(name.startswith("torch.") for name in self.file.names(node.func))
        return False


def _last_name(node: cst.BaseExpression) -> str:
    return node.attr.value if isinstance(node, cst.Attribute) else node.value if isinstance(node, cst.Name) else ""


def _literal_kind(node: cst.BaseExpression) -> str | None:
    """Of torch.tensor([1, [2, 3]]) without a dtype."""
    if isinstance(node, (cst.List, cst.Tuple)):
        kinds = {_literal_kind(element.value) for element in node.elements}
        return kinds.pop() if len(kinds) == 1 else "int" if kinds == {"index", "int"} else None
    if m.matches(node, m.UnaryOperation(operator=m.Minus(), expression=m.Integer())):
        return "int"
    return "index" if isinstance(node, cst.Integer) else "float" if isinstance(node, cst.Float) else None


def _walk(node: cst.CSTNode, into_functions: bool) -> Iterator[cst.CSTNode]:
    for child in node.children:
        yield child
        if into_functions or not isinstance(child, (cst.FunctionDef, cst.ClassDef)):
            yield from _walk(child, into_functions)


def _parts(node: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    """A mask, and the masks that it is put together from."""
    yield node
    if isinstance(node, cst.UnaryOperation):
        yield from _parts(node.expression)
    elif m.matches(node, m.BinaryOperation(left=m.Integer("1"), operator=m.Subtract())):
        yield from _parts(cst.ensure_type(node, cst.BinaryOperation).right)
    elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor)):
        yield from _parts(node.left)
        yield from _parts(node.right)


def _fractions(file: File) -> set[str]:
    """Names that anything in the file gives a fraction: step = 0.5, w = a / b, step=0.5 or step: float of a function."""
    if "fractions" not in file.memo:
        fraction = m.Float() | m.Divide() | m.Call(func=m.Name("float"))
        found = file.memo["fractions"] = set()
        for node in m.findall(file.module, m.Assign() | m.AugAssign() | m.AnnAssign() | m.Param()):
            if not m.findall(node, fraction | m.DivideAssign() | m.Annotation(annotation=m.Name("float"))):
                continue
            if isinstance(node, cst.Param):
                found.add(node.name.value)
                continue
            targets: list[cst.CSTNode] = []
            if isinstance(node, cst.Assign):
                targets += [target.target for target in node.targets]
            elif isinstance(node, (cst.AugAssign, cst.AnnAssign)):
                targets.append(node.target)
            for target in targets:
                found |= {dotted(name) for name in m.findall(target, m.Name() | m.Attribute())}
    return file.memo["fractions"]


def _terms(node: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    """What a sum adds up."""
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node
