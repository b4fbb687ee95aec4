"""Calls of torch whose arguments, result or default changed."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from ..rewriting import File, NodeRule, argument, expression, without_last_comma
from .names import APEX, Rule

LOAD = Rule(
    "torch.load",
    "Since torch 2.6 torch.load reads tensors alone unless weights_only=False; forks store other objects, too. "
    "It runs code that the file holds: load files that you trust.",
)
LINEAR_ALGEBRA = Rule(
    "linear algebra", "torch 1.9 to 2.0 moved these to torch.linalg, with the arguments in another order."
)
REDUCTION = Rule("size_average", "torch's losses take reduction= in place of size_average= and reduce=.")
VOLATILE = Rule("volatile", "volatile= has had no effect since torch 0.4; torch.no_grad() is what it was.")
CUDA_ASYNC = Rule("async=", "async is a keyword since Python 3.7; the argument is called non_blocking.")
SCALAR = Rule(
    "loss.data[0]", "A loss has no dimensions since torch 0.4, so it has no first element; item() is its number."
)
SAMPLER = Rule("Sampler()", "torch 2.5 took the argument data_source from Sampler's constructor.")
TRANSFORMS = Rule(
    "self.transforms", "torchvision 0.3 applies a data set's `transforms` itself, before the class that set them can."
)
VIEW = Rule(
    "view()",
    "Results of elementwise operations keep the strides of their input since torch 1.5, where they were contiguous before; "
    "reshape() is view(), and copies what cannot be viewed.",
)

LOSSES = {
    f"torch.nn{module}.{name}"
    for module, names in {
        ".functional": "l1_loss mse_loss smooth_l1_loss nll_loss cross_entropy binary_cross_entropy kl_div hinge_embedding_loss "
        "binary_cross_entropy_with_logits cosine_embedding_loss margin_ranking_loss soft_margin_loss triplet_margin_loss "
        "multilabel_margin_loss multilabel_soft_margin_loss multi_margin_loss poisson_nll_loss",
        "": "L1Loss MSELoss SmoothL1Loss NLLLoss CrossEntropyLoss BCELoss KLDivLoss BCEWithLogitsLoss HingeEmbeddingLoss "
        "CosineEmbeddingLoss MarginRankingLoss SoftMarginLoss TripletMarginLoss MultiLabelMarginLoss MultiMarginLoss NLLLoss2d "
        "MultiLabelSoftMarginLoss PoissonNLLLoss",
    }.items()
    for name in names.split()
}
# Of apex's DistributedDataParallel; torch's has none of them and does what they tuned by itself.
APEX_DDP = {
    "message_size",
    "delay_allreduce",
    "shared_param",
    "allreduce_trigger_params",
    "retain_allreduce_buffers",
    "allreduce_always_fp32",
    "num_allreduce_streams",
    "allreduce_communicators",
    "gradient_average",
    "gradient_predivide_factor",
    "gradient_average_split_factor",
    "prof",
}


def _literal(arg: cst.Arg | None) -> bool | None:
    """True or False, if the argument is one of the two."""
    value = getattr(getattr(arg, "value", None), "value", None)
    return {"True": True, "False": False}.get(value) if isinstance(value, str) else None


def _with_arg(call: cst.Call, text: str) -> cst.Call:
    extra = cst.ensure_type(expression(f"f({text})"), cst.Call).args[0]
    args = list(call.args)
    if args and isinstance(args[-1].comma, cst.MaybeSentinel):
        args[-1] = args[-1].with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
    return call.with_changes(args=[*args, extra])


def _without(call: cst.Call, *names: str) -> cst.Call:
    return call.with_changes(
        args=without_last_comma([a for a in call.args if a.keyword is None or a.keyword.value not in names])
    )


def load(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if (
        not file.calls(original, "torch.load")
        or argument(original, "weights_only")
        or any(a.star == "**" for a in original.args)
    ):
        return updated
    new = _with_arg(updated, "weights_only=False")
    file.changed(LOAD, original, new)
    return new


def linear_algebra(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    names = file.names(original.func)
    plain = [file.code(a.value) for a in updated.args if a.keyword is None and not a.star]
    code = ""
    if names & {"torch.solve", "torch.gesv"} and len(plain) == 2:
        code = f"(torch.linalg.solve({plain[1]}, {plain[0]}), None)"
    elif names & {"torch.lstsq", "torch.gels"} and len(plain) == 2:
        code = f"(torch.linalg.lstsq({plain[1]}, {plain[0]}).solution, None)"
    elif names & {"torch.symeig"} and plain:
        upper = _literal(argument(original, "upper", 2))
        code = f'torch.linalg.eigh({plain[0]}, UPLO="{"L" if upper is False else "U"}")'
    elif names & {"torch.qr"} and plain:
        some = _literal(argument(original, "some", 1))
        code = f"torch.linalg.qr({plain[0]}" + (', mode="complete")' if some is False else ")")
    elif names & {"torch.cholesky", "torch.potrf"} and plain:
        upper = _literal(argument(original, "upper", 1))
        upper = "torch.potrf" in names if upper is None else upper  # potrf's default was the upper triangle
        code = f"torch.linalg.cholesky({plain[0]})" + (".mT" if upper else "")
    if not code:
        return updated
    file.need_import("torch")
    new = expression(code)
    file.changed(LINEAR_ALGEBRA, original, new)
    return new


def solution(file: File, original: cst.Attribute, updated: cst.Attribute) -> cst.BaseExpression:
    """torch.solve(B, A).solution: the name of the first of two results."""
    if updated.attr.value == "solution" and file.calls(original.value, "torch.solve", "torch.lstsq"):
        if isinstance(updated.value, cst.Tuple):
            return updated.value.elements[0].value
    return updated


def reduction(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if file.names(original.func).isdisjoint(LOSSES):
        return updated
    average, reduce = argument(original, "size_average"), argument(original, "reduce")
    if average is None and reduce is None or argument(original, "reduction") is not None:
        return updated
    if _literal(reduce) is False:
        kind = '"none"'
    elif reduce is not None and _literal(reduce) is None:
        return updated
    elif average is None or _literal(average) is True:
        kind = '"mean"'
    elif _literal(average) is False:
        kind = '"sum"'
    else:
        kind = f'"mean" if {file.code(average.value)} else "sum"'
    new = _with_arg(_without(updated, "size_average", "reduce"), f"reduction={kind}")
    file.changed(REDUCTION, original, new)
    return new


def volatile(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if not file.calls(original, "torch.autograd.Variable", "torch.autograd.variable.Variable"):
        return updated
    if argument(original, "volatile") is None:
        return updated
    new = _without(updated, "volatile")
    file.changed(VOLATILE, original, new)
    file.remark(
        original,
        "volatile=True once kept gradients off here; put the computation under torch.no_grad() if it should be.",
    )
    return new


def apex_ddp(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """apex's wrapper tolerates parameters without gradients if it reduces at the end; torch's is told so."""
    names = {"apex.parallel.DistributedDataParallel", "apex.parallel.distributed.DistributedDataParallel"}
    if file.names(original.func).isdisjoint(names):
        return updated
    new = _without(updated, *APEX_DDP)
    if _literal(argument(original, "delay_allreduce")) is True:
        new = _with_arg(new, "find_unused_parameters=True")
    if not new.deep_equals(updated):
        file.changed(APEX, original, new)
    return new


def first_of_loss(file: File, original: cst.Subscript, updated: cst.Subscript) -> cst.BaseExpression:
    """loss.data[0] for variables whose name says that they are a loss."""
    pattern = m.Subscript(
        value=m.Attribute(attr=m.Name("data")),
        slice=[m.SubscriptElement(slice=m.Index(value=m.Integer("0")))],
    )
    if not m.matches(original, pattern):
        return updated
    base = cst.ensure_type(updated.value, cst.Attribute).value
    if "loss" not in file.code(base).split("(")[0].rpartition(".")[2].lower() or isinstance(base, cst.Call):
        return updated
    new = cst.Call(cst.Attribute(base, cst.Name("item")))
    file.changed(SCALAR, original, new)
    return new


def sampler(file: File, original: cst.ClassDef, updated: cst.ClassDef) -> cst.ClassDef:
    """super().__init__(data_source) in classes that derive from torch's Sampler alone."""
    samplers = {"torch.utils.data.Sampler", "torch.utils.data.sampler.Sampler", "torch.utils.data.dataset.Sampler"}
    if len(original.bases) != 1 or file.names(original.bases[0].value).isdisjoint(samplers):
        return updated
    of_super = m.Attribute(value=m.Call(func=m.Name("super")), attr=m.Name("__init__"))
    by_name = m.Attribute(value=m.Name("Sampler"), attr=m.Name("__init__"))
    for call in m.findall(original, m.Call(func=of_super, args=[m.AtLeastN(n=1)])):
        file.changed(SAMPLER, call, "super().__init__()")
    updated = cst.ensure_type(
        m.replace(updated, m.Call(func=of_super, args=[m.AtLeastN(n=1)]), lambda n, _: n.with_changes(args=[])),
        cst.ClassDef,
    )
    for call in m.findall(original, m.Call(func=by_name, args=[m.AtLeastN(n=2)])):
        file.changed(SAMPLER, call, "Sampler.__init__(self)")
    return cst.ensure_type(
        m.replace(
            updated,
            m.Call(func=by_name, args=[m.AtLeastN(n=2)]),
            lambda n, _: n.with_changes(args=without_last_comma(cst.ensure_type(n, cst.Call).args[:1])),
        ),
        cst.ClassDef,
    )


def transforms_of_dataset(file: File, original: cst.ClassDef, updated: cst.ClassDef) -> cst.ClassDef:
    """self.transforms of a class over one of torchvision's data sets, which reads items of the class below."""
    datasets = "torchvision.datasets."
    if not any(name.startswith(datasets) for base in original.bases for name in file.names(base.value)):
        return updated
    pattern = m.Attribute(value=m.Name("self"), attr=m.Name("transforms"))
    if not m.findall(original, m.AssignTarget(target=pattern)):
        return updated
    if not m.findall(original, m.Attribute(value=m.Call(func=m.Name("super")), attr=m.Name("__getitem__"))):
        return updated
    for node in m.findall(original, pattern):
        file.changed(TRANSFORMS, node, "self._transforms")
    renamed = m.replace(updated, pattern, lambda node, _: node.with_changes(attr=cst.Name("_transforms")))
    return cst.ensure_type(renamed, cst.ClassDef)


def upsample_bilinear(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    if not file.calls(original, "torch.nn.functional.upsample_bilinear"):
        return updated
    file.need_import("torch.nn.functional")
    new = _with_arg(updated.with_changes(func=expression("torch.nn.functional.interpolate")), 'mode="bilinear"')
    new = _with_arg(new, "align_corners=True")
    file.changed(Rule("upsample", "torch.nn.functional.interpolate is what upsample was."), original, new)
    return new


def view(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """x.view(sizes); not x.view(dtype), of a tensor or an array."""
    name = original.func
    if not isinstance(name, cst.Attribute) or name.attr.value != "view" or not original.args:
        return updated
    if not file.uses("torch") or file.defines_method("view"):
        return updated
    first = original.args[0].value
    is_dtype = (
        isinstance(first, cst.SimpleString)
        or any(name.startswith(("torch.", "numpy.", "builtins.")) for name in file.names(first))
        or m.matches(first, m.Name("dtype") | m.Attribute(attr=m.Name("dtype")))
    )
    if original.args[0].keyword or (len(original.args) == 1 and is_dtype):
        return updated
    new = updated.with_changes(func=cst.ensure_type(updated.func, cst.Attribute).with_changes(attr=cst.Name("reshape")))
    file.changed(VIEW, original, new)
    return new


RULES: list[tuple[type, NodeRule]] = [
    (cst.Call, load),
    (cst.Call, linear_algebra),
    (cst.Call, reduction),
    (cst.Call, volatile),
    (cst.Call, apex_ddp),
    (cst.Call, upsample_bilinear),
    (cst.Call, view),
    (cst.Attribute, solution),
    (cst.Subscript, first_of_loss),
    (cst.ClassDef, sampler),
    (cst.ClassDef, transforms_of_dataset),
]
