"""What torch's functions, methods and dtypes make of tensors, and what the numbers of a file are."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from .source import File, dotted

UINT8 = {"torch.uint8", "torch.ByteTensor", "torch.cuda.ByteTensor"}
FILLED = {"torch.zeros", "torch.ones", "torch.zeros_like", "torch.ones_like", "torch.full", "torch.full_like"}
TENSOR = {"torch.tensor", "torch.as_tensor"}
FILLED_METHODS = {"new_zeros", "new_ones", "new_full"}
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
ONE_MINUS = m.BinaryOperation(left=m.Integer("1") | m.Float("1.0") | m.Float("1."), operator=m.Subtract())
MEASURE = m.Call(func=m.Name("len") | m.Attribute(attr=m.Name("size") | m.Name("numel"))) | m.Subscript(
    value=m.Attribute(attr=m.Name("shape"))
)


KEEP_TRUTH = (cst.BitAndAssign, cst.BitOrAssign, cst.BitXorAssign)


def literal_kind(node: cst.BaseExpression) -> str | None:
    """Of torch.tensor([1, [2, 3]]) without a dtype."""
    if isinstance(node, (cst.List, cst.Tuple)):
        kinds = {literal_kind(element.value) for element in node.elements}
        return kinds.pop() if len(kinds) == 1 else "int" if kinds == {"index", "int"} else None
    if m.matches(node, m.UnaryOperation(operator=m.Minus(), expression=m.Integer())):
        return "int"
    return "index" if isinstance(node, cst.Integer) else "float" if isinstance(node, cst.Float) else None


def fractions(file: File) -> set[str]:
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
