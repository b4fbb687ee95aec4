"""What upstream's autograd functions need around operators that are differentiable themselves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge


def run_operator(ctx, function: Callable[..., Tensor], *arguments) -> Tensor:
    """The forward of a torch.autograd.Function: function(*arguments), whose own graph waits on `ctx` for `gradients`.

    arguments are those of forward, in its order. The operator sees them as in a direct call: autocast and saved-tensor hooks
    apply.
    """
    needed = (*ctx.needs_input_grad, *[False] * len(arguments))  # apply does not count the defaults
    with torch.enable_grad():
        leaves = [
            a.detach().requires_grad_(n) if isinstance(a, Tensor) else a
            for a, n in zip(arguments, needed, strict=False)
        ]
        output = function(*leaves)
    ctx.leaves = leaves
    ctx.edge = get_gradient_edge(output) if output.requires_grad else None
    return output.detach()


def gradients(ctx, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    """The backward: the gradient of each argument of `run_operator`, None where it needs none."""
    wanted = [leaf for leaf in ctx.leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    # Kept for a second backward, which the caller may want; it goes when ctx goes.
    found = iter(torch.autograd.grad(ctx.edge, wanted, grad_output, retain_graph=True))
    return tuple(next(found) if isinstance(leaf, Tensor) and leaf.requires_grad else None for leaf in ctx.leaves)
