"""Context for short trainings: attention that is linear in the number of positions, and the identity at the start.

With n the layer norm of the channels of x at each position (without weights), and in each head

    q = theta n + b,  k = softmax over positions of phi n,  v = g n
    M = sum over positions of k v^T                           a d_k x d_v matrix of an image, its context
    z = x + out (M^T q)                                       out = 0 at the start

M is that of "Efficient Attention" (Shen et al., WACV 2021), whose second softmax, of q over channels, is left out: with it
nothing was learned in short schedules.

ENL's response is a product of four layers that start near zero, and grows with the third power of the map. Here q, k and v have
the scale of one whatever the map's, and only `out` has to grow.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maskrcnn_benchmark.layers.layout import any_layout

from .algebra import check_map
from .modules import NON_LOCAL, NonLocal, PairWeights, check_point, without_autocast

_EPS = 1e-5  # of the variance of the channels
_BLOCK = 1 << 19  # bytes of the map that are computed together, which stay in a processor's cache


@any_layout
class LinearAttention(NonLocal):
    """ "linear_attention": the equations above.

    Args:
        channels: C, of the map.
        reduction: values have C / reduction channels, queries and keys half as many.
        heads: what the channels of queries, keys and values are shared out to.

    Shape: Tensor[B, C, H, W] -> the same shape, dtype and memory format. In training the map x is kept and what is small: norms
    and queries are computed again for the gradient. It cannot be differentiated twice.
    """

    def __init__(self, channels: int, reduction: int = 2, heads: int = 4):
        super().__init__()
        if reduction < 1 or heads < 1 or channels % (2 * reduction * heads):
            raise ValueError(
                f"linear_attention takes channels that {max(2 * reduction * heads, 1)} divides: 2 x {reduction} "
                f"(MODEL.NON_LOCAL.REDUCTION, at least 1) x {heads} heads (at least 1); the map has {channels}."
            )
        self.heads = heads
        keys, values = channels // (2 * reduction), channels // reduction
        self.theta: Any = nn.Conv2d(channels, keys, 1)
        self.phi = nn.Conv2d(channels, keys, 1, bias=False)
        self.g = nn.Conv2d(channels, values, 1, bias=False)
        self.out: Any = nn.Conv2d(values, channels, 1)
        for conv, variance in ((self.theta, 9 / channels), (self.phi, 9 / channels), (self.g, 1 / channels)):
            nn.init.normal_(conv.weight, std=variance**0.5)
        nn.init.zeros_(self.out.weight)
        for bias in (self.theta.bias, self.out.bias):
            if bias is not None:
                nn.init.zeros_(bias)

    @classmethod
    def from_config(cls, non_local: Any, channels: int) -> LinearAttention:
        return cls(channels, non_local.REDUCTION)

    def forward(self, x: Tensor) -> Tensor:
        check_map(x, "linear_attention")
        if x.shape[1] != self.theta.in_channels:
            raise ValueError(
                f"linear_attention of {self.theta.in_channels} channels got a map [B, C, H, W] of {list(x.shape)}."
            )
        with without_autocast(x):
            if torch.compiler.is_compiling() or x.numel() == 0:  # nothing has no maximum, which the sums start with
                return self.literal(x)
            weights = [conv.weight for conv in (self.theta, self.phi, self.g, self.out)]
            biases = self.theta.bias, self.out.bias
            if torch.is_grad_enabled():
                return _LinearAttention.apply(x, *weights, *biases, self.heads)
            wide = _Weights.of(x, *weights, *biases)
            return _add_context(x, wide, self.heads, _sums(x, wide.phi))

    def literal(self, x: Tensor) -> Tensor:
        """The same in the order of the equations, through maps of n, q, k and v: what a compiler is given and can export."""
        # Products of matrices [C, positions] that lie as they are written: of convolutions and layer_norm, whose results lie in
        # another order, inductor (torch 2.14) cannot sort the strides where the sides of the map are symbols.
        wide = torch.promote_types(x.dtype, torch.float32)
        centred = x.to(wide) - x.mean(1, keepdim=True, dtype=wide)
        n = centred * (centred.square().mean(1, keepdim=True) + _EPS).rsqrt()
        n = n.to(x.dtype).flatten(2).contiguous()
        # As many matrices as images: one for all would be multiplied with positions in another order.
        theta, phi, g, out = (
            conv.weight.flatten(1).to(x.dtype).expand(len(x), -1, -1)
            for conv in (self.theta, self.phi, self.g, self.out)
        )
        query = (theta.bmm(n) + self.theta.bias.to(x.dtype)[:, None]).to(wide)
        keys, values = phi.bmm(n).to(wide), g.bmm(n).to(wide)
        context = _within_heads(keys.softmax(2) @ values.transpose(1, 2), self.heads)
        y = (context.transpose(1, 2) @ query).to(x.dtype)
        return x + (out.bmm(y) + self.out.bias.to(x.dtype)[:, None]).view(x.shape)

    @torch.no_grad()
    def pair_weights(self, x: Tensor, row: int, column: int) -> PairWeights:
        """The factors of v in M^T q for the position (row, column) of a map [C, H, W], the mean of the heads."""
        check_point(x, row, column)
        n = F.layer_norm(x.permute(1, 2, 0), x.shape[:1], eps=_EPS).permute(2, 0, 1)[None]
        query, logits = self.theta(n)[0, :, row, column].float(), self.phi(n)[0].float()
        keys = logits.flatten(1).softmax(1).view_as(logits)
        appearance = torch.einsum("d,dhw->hw", query, keys) / self.heads
        return PairWeights(appearance, torch.zeros_like(appearance), appearance)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class _Sums(NamedTuple):
    """What the positions of a map, N = H * W of them, have in common, and the norm of each. float32 (float64 for float64).

    The weights that x is multiplied by are centred, so that n is x times the inverse deviation.
    """

    mean: Tensor  # of the channels of a position, [B, 1, N]
    inverse: Tensor  # of their deviation, [B, 1, N]
    maximum: Tensor  # of the softmax over positions, [B, D_k, 1]
    total: Tensor  # its denominator, [B, D_k, 1]
    seen: Tensor  # n as each key sees it, [B, D_k, C]

    def norms(self, x: Tensor, block: slice) -> tuple[Tensor, Tensor]:
        """Mean and inverse of some rows."""
        positions = slice(block.start * x.shape[3], block.stop * x.shape[3])
        return self.mean[:, :, positions], self.inverse[:, :, positions]


def _sums(x: Tensor, phi: Tensor) -> _Sums:
    batch, channels, _, _ = x.shape
    maximum = phi.new_full((batch, len(phi), 1), -math.inf)
    total = torch.zeros_like(maximum)
    seen = phi.new_zeros(batch, len(phi), channels)
    means, inverses = [], []
    for block in _blocks(x):
        part = _tokens(x, block)
        mean = part.mean(3, keepdim=True, dtype=phi.dtype)
        # Of the differences: of squares nothing would be left where the mean is large.
        deviation = torch.linalg.vector_norm(part - mean, dim=3) / math.sqrt(channels)
        mean, inverse = mean.flatten(1)[:, None], (deviation.square() + _EPS).rsqrt().flatten(1)[:, None]
        logits = _projected(phi, part, mean, inverse)
        highest = torch.maximum(maximum, logits.amax(2, keepdim=True))
        shrink, keys = (maximum - highest).exp(), (logits - highest).exp()
        maximum, total = highest, total * shrink + keys.sum(2, keepdim=True)
        seen = seen * shrink + _product(keys * inverse, part.flatten(1, 2))
        means.append(mean)
        inverses.append(inverse)
    return _Sums(torch.cat(means, 2), torch.cat(inverses, 2), maximum, total, seen / total)


class _Weights(NamedTuple):
    """In the dtype of the sums: theta, phi [D_k, C] and g [D_v, C] centred, out [C, D_v], the biases of theta and out."""

    theta: Tensor
    phi: Tensor
    g: Tensor
    out: Tensor
    theta_bias: Tensor
    out_bias: Tensor

    @classmethod
    def of(cls, x: Tensor, *weights: Tensor) -> _Weights:
        wide = torch.promote_types(x.dtype, torch.float32)
        theta, phi, g, out = (weight.flatten(1).to(wide) for weight in weights[:4])
        return cls(_centred(theta), _centred(phi), _centred(g), out, *(bias.to(wide) for bias in weights[4:]))


def _context(weights: _Weights, heads: int, seen: Tensor) -> Tensor:
    """M, Tensor[B, D_k, D_v]."""
    return _within_heads(seen @ weights.g.T, heads)


def _queries(weights: _Weights, part: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """q of some rows, in the dtype of the sums: Tensor[B, D_k, n]."""
    return _projected(weights.theta, part, mean, inverse) + weights.theta_bias[:, None]


def _add_context(x: Tensor, weights: _Weights, heads: int, sums: _Sums) -> Tensor:
    answer = (_context(weights, heads, sums.seen) @ weights.out.T).to(x.dtype)  # to each query, B x D_k x C
    result = torch.empty_like(x)
    for block in _blocks(x):
        part = _tokens(x, block)
        query = _queries(weights, part, *sums.norms(x, block)).to(x.dtype)
        z = _tokens(result, block)
        torch.add(part, weights.out_bias.to(x.dtype), out=z)
        z.view(len(x), -1, x.shape[1]).baddbmm_(query.transpose(1, 2), answer)
    return result


class _LinearAttention(torch.autograd.Function):
    """z, with a gradient for which blocks of the map are computed again."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        theta: Tensor,
        phi: Tensor,
        g: Tensor,
        out: Tensor,
        theta_bias: Tensor,
        out_bias: Tensor,
        heads: int,
    ) -> Tensor:
        parameters = theta, phi, g, out, theta_bias, out_bias
        weights = _Weights.of(x, *parameters)
        sums = _sums(x, weights.phi)
        ctx.save_for_backward(x, *parameters, *sums)
        ctx.heads = heads
        return _add_context(x, weights, heads, sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        parameters = saved[: len(_Weights._fields)]
        weights, sums = _Weights.of(x, *parameters), _Sums(*saved[len(parameters) :])
        context = _context(weights, ctx.heads, sums.seen)
        # Until the second pass writes a block of it, the first channels of the block keep the gradient of the queries.
        grad_x = torch.empty_like(x)
        grad_queries = grad_x[:, : len(weights.theta)]
        answer = context @ weights.out.T
        grad_answer, grad_theta, grad_theta_bias, grad_out_bias = _grad_queries(
            x, grad, weights, sums, answer, grad_queries
        )
        del answer
        grad_context = _within_heads(grad_answer @ weights.out, ctx.heads)
        grad_out = (grad_answer.transpose(1, 2) @ context).sum(0)
        del grad_answer, context
        grad_g = (grad_context.transpose(1, 2) @ sums.seen).sum(0)
        grad_phi = _grad_map(x, grad, weights, sums, grad_context @ weights.g, grad_queries, grad_x)
        grads = (_centred(grad_theta), _centred(grad_phi), _centred(grad_g), grad_out, grad_theta_bias, grad_out_bias)
        # In the memory order of the parameters, which an optimizer reads together with them.
        laid = (torch.empty_like(p).copy_(one.view(p.shape)) for one, p in zip(grads, parameters, strict=True))
        return (grad_x, *laid, None)


def _grad_queries(
    x: Tensor, grad: Tensor, weights: _Weights, sums: _Sums, answer: Tensor, grad_queries: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `answer`, of theta (centred) and its bias, and of the bias of out; that of the queries into `grad_queries`."""
    grad_answer, grad_theta = torch.zeros_like(answer), torch.zeros_like(weights.theta)
    grad_theta_bias, grad_out_bias = torch.zeros_like(weights.theta_bias), torch.zeros_like(weights.out_bias)
    for block in _blocks(x):
        part, flat = _tokens(x, block), _tokens(grad, block).to(x.dtype).flatten(1, 2)
        mean, inverse = sums.norms(x, block)
        grad_answer += _product(_queries(weights, part, mean, inverse), flat)
        grad_out_bias += flat.sum((0, 1), dtype=grad_out_bias.dtype)
        grad_query = _times(answer, flat).to(inverse.dtype)
        grad_theta += _product(grad_query * inverse, part.flatten(1, 2)).sum(0)
        grad_theta_bias += grad_query.sum((0, 2))
        grad_queries[:, :, block] = grad_query.view(len(x), -1, *part.shape[1:3])
    return grad_answer, grad_theta, grad_theta_bias, grad_out_bias


def _grad_map(
    x: Tensor, grad: Tensor, weights: _Weights, sums: _Sums, grad_seen: Tensor, grad_queries: Tensor, grad_x: Tensor
) -> Tensor:
    """The gradient of phi (centred); that of x, from q and k to n and through the layer norm, into `grad_x`."""
    grad_phi = torch.zeros_like(weights.phi)
    of_keys = (grad_seen * sums.seen).sum(2, keepdim=True)  # the mean over positions of a key's gradients
    rows = torch.cat((torch.cat((weights.theta, weights.phi)).expand(len(x), -1, -1), grad_seen), 1)
    for block in _blocks(x):
        part = _tokens(x, block)
        flat = _factor(part.flatten(1, 2))
        mean, inverse = sums.norms(x, block)
        keys = (_projected(weights.phi, part, mean, inverse) - sums.maximum).exp() / sums.total
        grad_logits = keys * (_projected(grad_seen, part, mean, inverse) - of_keys)
        grad_phi += _product(grad_logits * inverse, flat).sum(0)
        grad_query = grad_queries[:, :, block].flatten(2)
        factors = torch.cat([one.to(flat.dtype) for one in (grad_query, grad_logits, keys)], 1)
        del grad_query, grad_logits, keys  # the products that follow are where the memory of a step is highest
        grad_n = factors.transpose(1, 2) @ rows.to(flat.dtype)  # B x n x C
        del factors
        # It has no mean over channels, as the weights are centred.
        along = (grad_n * flat).sum(2, dtype=inverse.dtype)[:, None] * inverse**3 / x.shape[1]
        first, second, third = (one.transpose(1, 2).to(flat.dtype) for one in (inverse, along, along * mean))
        grad_n.mul_(first).addcmul_(flat, second, value=-1).add_(third)
        grad_x[:, :, block] = grad_n.view(part.shape).add_(_tokens(grad, block)).permute(0, 3, 1, 2)
    return grad_phi


def _centred(weight: Tensor) -> Tensor:
    return weight - weight.mean(1, keepdim=True)


def _within_heads(context: Tensor, heads: int) -> Tensor:
    """Of Tensor[B, D_k, D_v] the blocks in which keys and values are of one head; the rest is zero."""
    same = torch.eye(heads, dtype=context.dtype, device=context.device)[:, None, :, None]
    blocks = context.unflatten(2, (heads, -1)).unflatten(1, (heads, -1))  # B x heads x d_k x heads x d_v
    return (blocks * same).flatten(3).flatten(1, 2)


def _blocks(x: Tensor) -> list[slice]:
    """The rows of the map that are computed together; on a GPU all of them."""
    _, channels, height, width = x.shape
    line = channels * width * x.element_size()
    step = max(_BLOCK // max(line, 1), 1) if x.device.type == "cpu" else max(height, 1)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def _tokens(x: Tensor, block: slice) -> Tensor:
    """Some rows, Tensor[B, h, W, C]."""
    return x[:, :, block].permute(0, 2, 3, 1)


def _factor(x: Tensor) -> Tensor:
    """As it is multiplied: bfloat16 as it is, summed in float32 and rounded once. float16 is widened, as it would overflow."""
    return x.float() if x.dtype == torch.float16 else x


def _times(weight: Tensor, flat: Tensor) -> Tensor:
    """weight x at each position: Tensor[D, C] or [B, D, C], Tensor[B, n, C] -> Tensor[B, D, n]."""
    flat = _factor(flat)
    return (flat @ weight.to(flat.dtype).expand(len(flat), -1, -1).transpose(1, 2)).transpose(1, 2)


def _projected(weight: Tensor, part: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """weight n of some rows, in the dtype of the sums: Tensor[B, h, W, C] -> Tensor[B, D, n]."""
    product = _times(weight, part.flatten(1, 2))
    if product.dtype == weight.dtype:
        return inverse * product
    # Rounded, a centred weight no longer sums to zero: what that makes of the mean is taken off.
    left = weight.to(product.dtype).sum(-1, keepdim=True, dtype=weight.dtype)
    return inverse * (product - left * mean)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b over positions, Tensor[B, P, n], Tensor[B, n, Q] -> Tensor[B, P, Q], in the dtype of the sums."""
    b = _factor(b)
    return (a.to(b.dtype) @ b).to(torch.promote_types(b.dtype, torch.float32))


NON_LOCAL.register("linear_attention", LinearAttention)
