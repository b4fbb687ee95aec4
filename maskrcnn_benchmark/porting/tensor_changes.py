"""What changed its meaning since 2019 for the tensors of a file: masks, and divisions of whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import libcst as cst
from libcst import matchers as m

from .source import File, argument
from .tensor_kinds import Scope
from .tensor_words import CASTS, ONE_MINUS, SUMS, TENSOR

MASK_METHODS = {"masked_fill": 0, "masked_fill_": 0, "masked_select": 0, "masked_scatter": 0, "masked_scatter_": 0}
MASK_FUNCTIONS = {"torch.masked_select": 1, "torch.masked_fill": 1, "torch.where": 0}


@dataclass
class Plan:
    """What to rewrite in a file, by the identity of its nodes."""

    to_bool: set[int] = field(default_factory=set)  # dtypes and calls of byte()
    invert: dict[int, str] = field(default_factory=dict)  # "~", or "== 0" where it may be no tensor
    divide: dict[int, str] = field(default_factory=dict)  # "floor" or "trunc", or "" where it may be no tensor
    minus: set[int] = field(default_factory=set)  # mask - mask, 2 - mask, -mask
    counts: set[int] = field(default_factory=set)  # what asks how many masks hold


def plan(file: File) -> Plan:
    if "tensors" not in file.memo:
        made = file.memo["tensors"] = Plan()
        if file.uses("torch"):
            for scope in (file.module, *m.findall(file.module, m.FunctionDef() | m.ClassDef())):
                _Changes(Scope(file, scope, made.to_bool), made).decide()
    return file.memo["tensors"]


class _Changes:
    """What a scope adds to the plan of its file."""

    def __init__(self, scope: Scope, made: Plan):
        self.scope, self.made, self.file, self.nodes = scope, made, scope.file, scope.nodes

    def decide(self) -> None:
        made: dict[str, list[cst.CSTNode]] = {}
        for name, values in self.scope.values.items():
            parts = [part for value, index in values if index is None for part in _parts(value)]
            made[name] = [made_by for part in parts for made_by in self.scope.uint8_makers(part)]
        wanted = set()
        for place in self._mask_places():
            for part in _parts(place):
                wanted.add(self.scope.name(part))
                self.made.to_bool |= {id(found) for found in self.scope.uint8_makers(part)}
        for name, nodes in made.items():
            if nodes and (name in wanted or self._holds_truth(name)):
                self.made.to_bool |= {id(node) for node in nodes}
        for node in self.nodes:
            if isinstance(node, cst.IfExp):
                self._choice(node)
            elif isinstance(node, cst.BinaryOperation):
                self._operation(node)
            elif isinstance(node, cst.UnaryOperation):
                if isinstance(node.operator, cst.Minus) and self._is_refused(node.expression):
                    self.made.minus.add(id(node))
            elif isinstance(node, (cst.Comparison, cst.Call)) and self._counts_masks(node):
                self.made.counts.add(id(node))
            elif isinstance(node, cst.AugAssign) and isinstance(node.operator, cst.DivideAssign):
                if self.scope.kind(node.target) in ("index", "int") and not self.file.facts.recent_torch:
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
        name = self.scope.name(node)
        if name:
            values = [value for value, _ in self.scope.values.get(name, ())]
            return bool(values) and all(not self.scope.name(value) and self._adds_masks(value) for value in values)
        return (
            isinstance(node, cst.BinaryOperation)
            and isinstance(node.operator, cst.Add)
            and all(map(self._is_mask, _terms(node)))
        )

    def _is_mask(self, node: cst.BaseExpression) -> bool:
        return self.scope.is_truth(node)

    def _is_bool(self, node: cst.BaseExpression) -> bool:
        """Whether this is a bool tensor today, for certain."""
        return self.scope.kind(node) == "mask" or (self.scope.is_made_bool(node) and self._is_mask(node))

    def _is_refused(self, *sides: cst.BaseExpression) -> bool:
        """Whether torch refuses `-` of these."""
        return any(map(self._is_bool, sides)) or (len(sides) > 1 and all(map(self._is_mask, sides)))

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
        if self.scope.drops_fraction(self.scope.kind_of_tensor(left), right.value):
            self.made.divide[id(node)] = "trunc"

    def _choice(self, node: cst.IfExp) -> None:
        """ones if condition else zeros: truth for every element, whoever uses it."""
        arms = [arm for arm in (node.body, node.orelse) if isinstance(arm, cst.Call)]
        names = [_last_name(arm.func) for arm in arms]
        if len(arms) == 2 and all(
            n in ("ones", "zeros", "ones_like", "zeros_like", "new_ones", "new_zeros") for n in names
        ):
            self.made.to_bool |= {id(found) for arm in arms for found in self.scope.uint8_makers(arm)}

    def _operation(self, node: cst.BinaryOperation) -> None:
        if m.matches(node, ONE_MINUS):
            if self._is_bool(node.right):
                self.made.invert[id(node)] = "~"
            elif self._is_mask(node.right):
                if not self.file.uses("numpy"):
                    self.made.invert[id(node)] = "== 0"
                elif id(node) not in self.made.invert:
                    self.made.invert[id(node)] = ""
        elif isinstance(node.operator, cst.Subtract) and self._is_refused(node.left, node.right):
            self.made.minus.add(id(node))
        elif self.file.facts.recent_torch:
            return
        elif isinstance(node.operator, cst.Divide):
            kind = self.scope.kind(node.left)
            if self.scope.drops_fraction(kind, node.right):
                self.made.divide[id(node)] = "floor" if kind == "index" else "trunc"
            elif kind is None and self.scope.drops_fraction(self.scope.kind_of_tensor(node.left), node.right):
                self.made.divide.setdefault(id(node), "")
        elif isinstance(node.operator, cst.FloorDivide) and self.scope.kind(node.left) in ("int", "float"):
            self.made.divide[id(node)] = "trunc"

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
        values = [value for value, index in self.scope.values[name] if index is None]
        made_filled = all(isinstance(v, cst.Call) and argument(v, "dtype") is not None for v in values)
        made_filled &= not any(self.file.names(v.func) & TENSOR for v in values if isinstance(v, cst.Call))
        stored = []
        for node in self.nodes:
            if isinstance(node, cst.Assign):
                for target in node.targets:
                    if isinstance(target.target, cst.Subscript) and self.scope.name(target.target.value) == name:
                        stored.append(node.value)
            elif isinstance(node, cst.Attribute) and node.attr.value == "numpy" and self.scope.name(node.value) == name:
                return False
            elif isinstance(node, cst.BinaryOperation) and isinstance(
                node.operator, (cst.Multiply, cst.Add, cst.Subtract)
            ):
                if name in (self.scope.name(node.left), self.scope.name(node.right)):
                    return False
        truth = m.Integer("0") | m.Integer("1") | m.Name("True") | m.Name("False")
        return made_filled and bool(stored) and all(m.matches(value, truth) for value in stored)


def _last_name(node: cst.BaseExpression) -> str:
    return node.attr.value if isinstance(node, cst.Attribute) else node.value if isinstance(node, cst.Name) else ""


def _parts(node: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    """A mask, and the masks that it is put together from."""
    yield node
    if isinstance(node, cst.UnaryOperation):
        yield from _parts(node.expression)
    elif m.matches(node, ONE_MINUS):
        yield from _parts(cst.ensure_type(node, cst.BinaryOperation).right)
    elif isinstance(node, cst.BinaryOperation) and isinstance(node.operator, (cst.BitAnd, cst.BitOr, cst.BitXor)):
        yield from _parts(node.left)
        yield from _parts(node.right)


def _terms(node: cst.BaseExpression) -> Iterator[cst.BaseExpression]:
    """What a sum adds up."""
    if isinstance(node, cst.BinaryOperation) and isinstance(node.operator, cst.Add):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node
