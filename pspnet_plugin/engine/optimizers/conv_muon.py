"""Muon for networks of convolutions: orthogonal momentum for weights, AdamW for biases and norms.

Differs from ``torch.optim.Muon`` in taking filters of any dimension and vectors too, and in
iterating in float32, by the matrices' products with themselves: for the filters of
``psp_cpu25_cityscapes_pairs.py``, torch's step takes 1.4 times as long (CPU with AVX512-BF16).
"""

import functools
from collections.abc import Callable, Iterable

import torch
from mmseg.registry import OPTIMIZERS
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

# A quintic whose five-fold iteration brings singular values of 0.003 to 1 into 0.7 to 1.2.
# Source: K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5  # Newton and Schulz's
DEPTHWISE = ('filters', 'matrix', 'adamw')
_LEAST_LENGTH = 1e-3  # of a filter's update over the longest: a filter without gradient rests
# Root mean square of AdamW's update over its learning rate, as measured by J. Liu et al., Muon is
# scalable for LLM training, arXiv 2502.16982; so weights move as far as by AdamW of that rate.
_RMS_OF_ADAMW = 0.2


def untraced(method: Callable) -> Callable:
    """Apply ``torch.compiler.disable`` at the first call: it takes a second to import."""

    @functools.wraps(method)
    def call(*args, **kwargs):
        return torch.compiler.disable(method)(*args, **kwargs)

    return call


@OPTIMIZERS.register_module()
class ConvMuon(Optimizer):
    """Muon for weights of two dimensions and more, AdamW for biases and norms.

    A weight (out, in, kh, kw) is a matrix (out, in * kh * kw); one of a transposed convolution,
    (in, out, kh, kw), is (in, out * kh * kw). Weights (C, 1, kh, kw) are taken for depthwise
    filters, see ``depthwise``.

    Args:
        params: Weights, or groups of them with options of their own.
        lr: Learning rate of the weights. Orthogonal steps bear about ten times that of AdamW.
        weight_decay: Decoupled, as in AdamW.
        momentum: Momentum of Muon, in Nesterov's form.
        vector_lr: Learning rate of the vectors, which AdamW moves, over ``lr``.
        depthwise: ``'filters'`` scales the update of each depthwise filter to the same length, as
            orthogonalizing it by itself does; ``'matrix'`` orthogonalizes all of a layer as one
            (C, kh * kw); ``'adamw'`` leaves them to AdamW.
        betas: Decay rates of AdamW's moments.
        eps: Term in AdamW's denominator.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float = 0.02,
        *,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        vector_lr: float = 0.2,
        depthwise: str = 'filters',
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        for name, value in dict(lr=lr, weight_decay=weight_decay, vector_lr=vector_lr).items():
            if not value >= 0:
                raise ValueError(f'ConvMuon: {name}={value}: expected a number from 0 up')
        for name, value in dict(momentum=momentum, beta1=betas[0], beta2=betas[1]).items():
            if not 0 <= value < 1:
                raise ValueError(f'ConvMuon: {name}={value}: expected a number from 0 to below 1')
        if depthwise not in DEPTHWISE:
            raise ValueError(f'ConvMuon: depthwise={depthwise!r}: expected one of {DEPTHWISE}')
        decay = dict(weight_decay=weight_decay, momentum=momentum, betas=tuple(betas))
        options = dict(lr=lr, vector_lr=vector_lr, depthwise=depthwise, eps=eps, **decay)
        super().__init__(params, options)

    def __setstate__(self, state: dict) -> None:
        """Set the state of a pickle or a checkpoint, also one from before ``depthwise``."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault('depthwise', 'matrix')

    # With compile=True the framework compiles this too, and torch's tracer fails on the groups.
    @untraced
    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update the weights; ``closure``, where given, computes loss and gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # Vectors by their options: the framework makes a group of each parameter.
        vectors: dict[tuple, tuple[dict, list[Tensor]]] = {}
        for group in self.param_groups:
            options = [group[key] for key in ('lr', 'vector_lr', 'weight_decay', 'eps')]
            key = (*options, *group['betas'])
            for weight in group['params']:
                by_adamw = is_depthwise(weight) and group['depthwise'] == 'adamw'
                is_matrix = weight.ndim > 1 and not by_adamw
                if weight.grad is not None and is_matrix:
                    self._step_matrix(weight, weight.grad, group)
                elif weight.grad is not None:
                    vectors.setdefault(key, (group, []))[1].append(weight)
        for group, alike in vectors.values():
            self._step_vectors(alike, group)
        return loss

    def _step_matrix(self, weight: Tensor, grad: Tensor, group: dict) -> None:
        state = self.state[weight]
        if not state:
            state['momentum_buffer'] = torch.zeros_like(weight)
        momentum = state['momentum_buffer']
        momentum.lerp_(grad, 1 - group['momentum'])
        update = grad.lerp(momentum, group['momentum'])
        matrix = update.reshape(len(update), -1)
        if is_depthwise(weight) and group['depthwise'] == 'filters':
            lengths = matrix.norm(dim=1, keepdim=True)
            matrix = matrix / lengths.clamp(min=_LEAST_LENGTH * lengths.max() + group['eps'])
            scale = _RMS_OF_ADAMW * matrix.shape[1] ** 0.5
        else:
            matrix = orthogonalized(matrix)
            scale = _RMS_OF_ADAMW * max(matrix.shape) ** 0.5  # its RMS is 1/sqrt(max)
        weight.mul_(1 - group['lr'] * group['weight_decay'])
        weight.add_(matrix.view_as(weight), alpha=-group['lr'] * scale)

    def _step_vectors(self, vectors: list[Tensor], group: dict) -> None:
        for vector in vectors:
            if not self.state[vector]:
                moments = {key: torch.zeros_like(vector) for key in ('exp_avg', 'exp_avg_sq')}
                self.state[vector].update(step=torch.zeros(()), **moments)
        averages, squares, steps = (
            [self.state[vector][key] for vector in vectors]
            for key in ('exp_avg', 'exp_avg_sq', 'step')
        )
        grads = [vector.grad for vector in vectors if vector.grad is not None]
        adamw(
            vectors, grads, averages, squares, [], steps, foreach=True, amsgrad=False,
            maximize=False, beta1=group['betas'][0], beta2=group['betas'][1], eps=group['eps'],
            lr=group['lr'] * group['vector_lr'], weight_decay=group['weight_decay'],
        )  # fmt: skip


def is_depthwise(weight: Tensor) -> bool:
    """Return whether a weight has the shape of depthwise filters."""
    return weight.ndim > 2 and weight.shape[1] == 1


def orthogonalized(matrix: Tensor) -> Tensor:
    """Return about the orthogonal matrix nearest to an (M, N) one: its singular values are about 1.

    An iteration multiplies the matrix X from the left by Q = a + b A + c A A, where A = X Xᵀ. All
    of these are polynomials of the first A, so they commute: A becomes Q Q A without X, and X need
    be multiplied but once, by the product P of all Q. For filters of 3x3, whose matrices are wide,
    that is a third of the work.
    """
    a, b, c = _QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    gram = wide @ wide.T
    norm = gram.trace().clamp(min=1e-14).sqrt()  # of the matrix; no singular value is larger
    gram = gram / norm.square()
    product: Tensor | None = None
    for step in range(_ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor if product is None else factor @ product
        if step + 1 < _ITERATIONS:
            gram = factor @ (factor @ gram)
    assert product is not None
    wide = (product / norm) @ wide
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).contiguous()
