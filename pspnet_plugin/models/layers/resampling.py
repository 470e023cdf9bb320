"""Average pooling and bilinear upsampling along one axis, as matrices.

They are made in float64. ``matrix_like`` gives them in the dtype and on the device of a map, and
keeps the last 128: along one axis some ten thousand floats each, of a whole plane up to a million.

Shape shorthand in this module: H, h: pixels of the larger and of the smaller map along the axis;
k: side of a convolution's kernel.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from pspnet_plugin.models.layers.torch_versions import is_compiling


def pooling_matrix(
    size: int,
    bins: int,
    span: int | None = None,
    align_corners: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Average pooling of H = ``size`` pixels to h = ``bins``, as ``adaptive_avg_pool1d`` does it.

    Bin a holds the pixels from ``a * H / h`` to ``(a + 1) * H / h``, bounds rounded outwards, so
    bins overlap where h does not divide H.

    Args:
        size: H.
        bins: h.
        span: Pixels that the H are interpolated to before they are pooled; none by default.
        align_corners: Of that interpolation.
        device: Where it is made.

    Returns:
        (h, H); each row sums to 1.
    """
    if span is not None:
        pooling = pooling_matrix(span, bins, device=device)
        return pooling @ interpolation_matrix(size, span, align_corners, device)
    pixel = torch.arange(size, device=device)
    place = torch.arange(bins, device=device)[:, None]
    start, end = place * size // bins, ((place + 1) * size + bins - 1) // bins
    inside = ((pixel >= start) & (pixel < end)).double()
    return inside / inside.sum(1, keepdim=True)


def pooling_matrices(
    size: int,
    bins: Sequence[int],
    span: int | None = None,
    align_corners: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Those of several grids, one below the other: (sum of h, H)."""
    return torch.cat([pooling_matrix(size, b, span, align_corners, device) for b in bins])


def pooling_plane(
    size: tuple[int, int],
    grids: Sequence[tuple[int, int]],
    span: tuple[int, int] | None = None,
    align_corners: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Average pooling of whole maps to several grids: (sum of h * w, H * W of ``size``)."""
    spans = (None, None) if span is None else span
    return torch.cat(
        [
            torch.kron(
                *(
                    pooling_matrix(side, count, full, align_corners, device)
                    for side, count, full in zip(size, grid, spans, strict=True)
                )
            )
            for grid in grids
        ]
    )


def interpolation_matrix(
    size: int, to: int, align_corners: bool, device: torch.device | None = None
) -> Tensor:
    """Linear interpolation of h = ``size`` pixels to H = ``to``, as ``F.interpolate`` does it.

    Returns:
        (H, h); each row sums to 1 and has at most two entries that are not 0.
    """
    at = torch.arange(to, dtype=torch.float64, device=device)
    if align_corners:
        at = at * ((size - 1) / max(to - 1, 1))
    else:
        at = ((at + 0.5) * (size / to) - 0.5).clamp(0, size - 1)
    source = torch.arange(size, dtype=torch.float64, device=device)
    return (1 - (at[:, None] - source).abs()).clamp(min=0)


def tap_matrix(
    size: int,
    to: int,
    align_corners: bool,
    kernel: int,
    keep: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Linear interpolation as each tap of a zero-padded convolution sees it.

    Args:
        size: h.
        to: Pixels after interpolation.
        align_corners: As ``F.interpolate`` has it.
        kernel: k, odd; with 1 this is the interpolation itself.
        keep: H, so many of the ``to`` pixels; all by default.
        device: Where it is made.

    Returns:
        (H, k * h): in column ``d * h + a`` what source a gives to pixel ``i + d - (k - 1) / 2``, or
        0 where there is no such pixel.
    """
    margin = kernel // 2
    pixels = interpolation_matrix(size, to, align_corners, device)[:keep]
    padded = F.pad(pixels, (0, 0, margin, margin))  # (H + k - 1, h)
    return padded.unfold(0, kernel, 1).transpose(1, 2).flatten(1)  # (H, h, k) to (H, k * h)


def interpolation_plane(
    size: tuple[int, int],
    to: tuple[int, int],
    align_corners: bool,
    keep: tuple[int, int],
    device: torch.device | None = None,
) -> Tensor:
    """Bilinear interpolation of whole maps: (H * W of ``keep``, h * w)."""
    rows, columns = (
        tap_matrix(*sizes, align_corners, 1, kept, device)
        for *sizes, kept in zip(size, to, keep, strict=True)
    )
    return torch.kron(rows, columns)


def is_traced(x: Tensor) -> bool:
    """Whether a graph is made of what is computed with ``x``."""
    return is_compiling() or torch.jit.is_tracing() or type(x) is not Tensor


def is_exported() -> bool:
    """Whether what is traced must serve any size: there, no choice may depend on one."""
    return getattr(torch.compiler, 'is_exporting', bool)()  # came with torch 2.7


def is_transformed() -> bool:
    """Whether ``torch.func`` or forward-mode differentiation sees what is computed.

    Both need operators that they know, not a function with a derivative of its own.
    """
    if is_compiling():
        return False
    interpreter = torch._C._functorch.peek_interpreter_stack()
    return interpreter is not None or forward_ad._current_level >= 0


def matrix_like(x: Tensor, build: Callable[..., Tensor], *arguments) -> Tensor:
    """``build(*arguments)`` in the dtype and on the device of ``x``.

    It is made anew where a graph is traced, so that it becomes a part of the graph.
    """
    if is_traced(x):
        return build(*arguments, device=x.device).to(x.dtype)
    return _kept(build, *arguments, dtype=x.dtype, device=x.device)


@lru_cache(maxsize=128)
def _kept(
    build: Callable[..., Tensor], *arguments, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # One made in inference mode could not be used in a training that follows.
    with torch.inference_mode(False), torch.no_grad():
        return build(*arguments, device=device).to(dtype)
