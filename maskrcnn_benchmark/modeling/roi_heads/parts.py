"""The heads of a detector, and what is known of their parts.

A head of maskrcnn-benchmark's kind works in two steps: `feature_extractor(features, boxes)`, then `predictor` of what that
returns. Heads of one's own have any parts; whoever takes a head apart asks here first.
"""

from typing import Any

from torch import nn

STEPS = ("feature_extractor", "predictor")


def heads_by_name(model: Any) -> dict[str, nn.Module]:
    """ "roi_heads.box" and so on; "roi_heads" alone for heads that are a single module. Empty for a detector without any."""
    heads = getattr(model, "roi_heads", None)
    if isinstance(heads, nn.ModuleDict):
        return {f"roi_heads.{name}": head for name, head in heads.items()}
    return {"roi_heads": heads} if isinstance(heads, nn.Module) else {}


def has_two_steps(head: nn.Module) -> bool:
    """Whether all weights of a head lie in its modules `feature_extractor` and `predictor`."""
    steps = dict(head.named_children())
    if not all(name in steps for name in STEPS):
        return False
    known = {p for name in STEPS for p in steps[name].parameters()}
    return known.issuperset(head.parameters())
