"""Calls of torch whose arguments, result or default changed."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from ..source import File, NodeRule, argument, expression, without_last_comma
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
FULL = Rule(
    "torch.full", "torch.full gave floats whatever it was filled with; since torch 1.7 it takes the kind of the number."
)
CORNERS = Rule("align_corners", "torch 1.3 made align_corners=False the default of grid_sample and affine_grid.")
SCALE = Rule(
    "scale_factor",
    "Until torch 1.5 interpolate computed with the rounded size, today with the scale_factor as it is given.",
)
STFT = Rule("torch.stft", "torch.stft gives complex numbers; it gave their real and imaginary parts until torch 1.8.")

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
# Of apex's optimizers; torch's have none of them.
APEX_OPTIMIZERS = (
    "bias_correction adam_w_mode eps_inside_sqrt max_grad_norm set_grad_none use_mt amp_scale_adjustment "
    "wd_after_momentum materialize_master_grads"
).split()
# Positions of align_corners, and of size (which says as much as scale_factor), scale_factor and mode.
ALIGNED = {"torch.nn.functional.grid_sample": 4, "torch.nn.functional.affine_grid": 2}
SCALED = {
    "torch.nn.functional.interpolate": (1, 2, 3),
    "torch.nn.functional.upsample": (1, 2, 3),
    "torch.nn.Upsample": (0, 1, 2),
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
    elif len(args) > 1:  # a last comma: the new argument stands as those before it
        extra = extra.with_changes(comma=args[-1].comma)
        args[-1] = args[-1].with_changes(comma=args[-2].comma)
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
    file.need_import("torch", original)
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


def apex_optimizers(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """FusedAdam decays weights as AdamW does, but by 0 unless it is told otherwise."""
    adam = {"apex.optimizers.FusedAdam", "apex.optimizers.fused_adam.FusedAdam"}
    names = file.names(original.func)
    if names.isdisjoint({*adam, "apex.optimizers.FusedSGD"}):
        return updated
    new = _without(updated, *APEX_OPTIMIZERS)
    if names & adam:
        if argument(original, "weight_decay", 6) is None and not any(arg.star for arg in original.args):
            new = _with_arg(new, "weight_decay=0")
        if _literal(argument(original, "adam_w_mode")) is False:
            file.need_import("torch.optim", original)
            new = new.with_changes(func=expression("torch.optim.Adam"))
    if not new.deep_equals(updated):
        file.changed(APEX, original, new)
    return new


def full(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """torch.full(size, 1): the number as a float."""
    fill = argument(updated, "fill_value", 1)
    if file.facts.recent_torch or not file.calls(original, "torch.full") or fill is None:
        return updated
    if argument(original, "dtype") or argument(original, "out") or any(arg.star for arg in original.args):
        return updated
    number = m.Integer() | m.UnaryOperation(operator=m.Minus(), expression=m.Integer())
    if not m.matches(fill.value, number):
        return updated
    code = file.code(fill.value)
    value = expression(f"{code}.0" if code.lstrip("-").isdecimal() else f"float({code})")
    new = updated.with_changes(args=[arg.with_changes(value=value) if arg is fill else arg for arg in updated.args])
    file.changed(FULL, original, new)
    return new


def stft(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """torch.stft(x, 16): today it has to be told return_complex."""
    if not file.calls(original, "torch.stft") or any(arg.star == "**" for arg in original.args):
        return updated
    if argument(original, "return_complex", 8) is not None:
        return updated
    file.need_import("torch", original)
    new = expression(f"torch.view_as_real({file.code(_with_arg(updated, 'return_complex=True'))})")
    file.changed(STFT, original, new)
    return new


def align_corners(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """grid_sample and affine_grid with the default of before torch 1.3."""
    position = next((ALIGNED[name] for name in file.names(original.func) if name in ALIGNED), None)
    if position is None or file.facts.recent_torch or any(arg.star for arg in original.args):
        return updated
    if argument(original, "align_corners", position) is not None:
        return updated
    new = _with_arg(updated, "align_corners=True")
    file.changed(CORNERS, original, new)
    return new


def scale_factor(file: File, original: cst.Call, updated: cst.Call) -> cst.BaseExpression:
    """interpolate by a factor; by a whole one the rounded size is the same."""
    positions = next((SCALED[name] for name in file.names(original.func) if name in SCALED), None)
    if positions is None or file.facts.recent_torch or any(arg.star for arg in original.args):
        return updated
    size, scale, mode = (
        argument(original, name, at) for name, at in zip(("size", "scale_factor", "mode"), positions, strict=True)
    )
    if scale is None or m.matches(scale.value, m.Integer() | m.Name("None")):
        return updated
    if size is not None and not m.matches(size.value, m.Name("None")):
        return updated
    smooth = getattr(getattr(mode, "value", None), "evaluated_value", None) in (
        "bilinear",
        "bicubic",
        "trilinear",
        "linear",
    )
    if not smooth or argument(original, "recompute_scale_factor", max(positions) + 2) is not None:
        return updated
    new = _with_arg(updated, "recompute_scale_factor=True")
    file.changed(SCALE, original, new)
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
    file.need_import("torch.nn.functional", original)
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
    (cst.Call, apex_optimizers),
    (cst.Call, full),
    (cst.Call, stft),
    (cst.Call, align_corners),
    (cst.Call, scale_factor),
    (cst.Call, upsample_bilinear),
    (cst.Call, view),
    (cst.Attribute, solution),
    (cst.Subscript, first_of_loss),
    (cst.ClassDef, sampler),
    (cst.ClassDef, transforms_of_dataset),
]
