"""Average pooling and bilinear interpolation as matrices: stock operators, but linear algebra.

The matrices are computed in float64. ``matrix_like`` casts them to the dtype and device of a tensor
and caches the last 128: some ten thousand floats each along one axis, up to a million for a plane.

The end of the file tells eager execution from tracing, and bridges versions of torch.

Shape shorthand in this module: H, h: pixels of the larger and the smaller feature map along an
axis; k: side of a convolution's kernel.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from pspnet_plugin.utils.resizing import Size


def pooling_matrix(
    size: int,
    bins: Sequence[int],
    resized_to: int | None = None,
    align_corners: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Return the matrices of ``adaptive_avg_pool1d`` from H pixels to each of several h, stacked.

    Bin a holds the pixels from ``a * H / h`` to ``(a + 1) * H / h``, bounds rounded outwards, so
    bins overlap where h does not divide H.

    Args:
        size: H.
        bins: h of each grid.
        resized_to: Number of pixels that the H are interpolated to before pooling, if any.
        align_corners: Convention of that interpolation.
        device: Device of the matrix.

    Returns:
        (sum of h, H); each row sums to 1.
    """
    if resized_to is not None:
        pooling = pooling_matrix(resized_to, bins, device=device)
        return pooling @ interpolation_matrix(size, resized_to, align_corners, device)
    pixel = torch.arange(size, device=device)
    grids = []
    for count in bins:
        index = torch.arange(count, device=device)[:, None]
        start, end = index * size // count, ((index + 1) * size + count - 1) // count
        inside = ((pixel >= start) & (pixel < end)).double()  # (h, H)
        grids.append(inside / inside.sum(1, keepdim=True))
    return torch.cat(grids)


def pooling_plane(
    size: Size,
    grids: Sequence[Size],
    resized_to: Size | None = None,
    align_corners: bool = False,
    device: torch.device | None = None,
) -> Tensor:
    """Pool both axes at once, to several grids: (sum of h * w, H * W)."""
    full = resized_to or (None, None)
    planes = []
    for grid in grids:
        rows, columns = (
            pooling_matrix(size[i], grid[i : i + 1], full[i], align_corners, device) for i in (0, 1)
        )
        planes.append(torch.kron(rows, columns))
    return torch.cat(planes)


def interpolation_matrix(
    size: int, to: int, align_corners: bool, device: torch.device | None = None
) -> Tensor:
    """Return the matrix of linear ``F.interpolate`` from h = ``size`` pixels to H = ``to``: (H, h).

    Each row sums to 1 and has at most two nonzero entries.
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
    crop: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return linear interpolation as each tap of a zero-padded convolution reads it.

    Args:
        size: h.
        to: Pixels after interpolation.
        align_corners: As in ``F.interpolate``.
        kernel: k, odd; 1 gives the interpolation itself.
        crop: H, the leading pixels that are kept of ``to``; all by default.
        device: Device of the matrix.

    Returns:
        (H, k * h): column ``d * h + a`` holds what source a gives to pixel ``i + d - (k - 1) / 2``,
        0 where there is no such pixel.
    """
    margin = kernel // 2
    pixels = interpolation_matrix(size, to, align_corners, device)[:crop]
    padded = F.pad(pixels, (0, 0, margin, margin))  # (H + k - 1, h)
    return padded.unfold(0, kernel, 1).transpose(1, 2).flatten(1)  # (H, h, k) to (H, k * h)


def interpolation_plane(
    size: Size, to: Size, align_corners: bool, crop: Size, device: torch.device | None = None
) -> Tensor:
    """Interpolate both axes at once: (H * W of ``crop``, h * w)."""
    rows, columns = (tap_matrix(size[i], to[i], align_corners, 1, crop[i], device) for i in (0, 1))
    return torch.kron(rows, columns)


def matrix_like(x: Tensor, build: Callable[..., Tensor], *arguments) -> Tensor:
    """Return ``build(*arguments)`` in the dtype and on the device of ``x``.

    The matrix comes from a cache, except in a traced graph, which must build it itself.
    """
    if is_traced(x):
        return build(*arguments, device=x.device).to(x.dtype)
    return _cached(build, *arguments, dtype=x.dtype, device=x.device)


@lru_cache(maxsize=128)
def _cached(
    build: Callable[..., Tensor], *arguments, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # A matrix built in inference mode could not be used by a training that follows.
    with torch.inference_mode(False), torch.no_grad():
        return build(*arguments, device=device).to(dtype)


# torch before 2.3 has it elsewhere; compiled graphs know both.
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling
# Whether the graph must serve any size, so that no choice may depend on one; since torch 2.7.
is_exporting = getattr(torch.compiler, 'is_exporting', bool)


def is_traced(x: Tensor) -> bool:
    """Tell whether a graph is recorded of what is computed with ``x``."""
    return is_compiling() or torch.jit.is_tracing() or type(x) is not Tensor


def is_transformed() -> bool:
    """Tell whether ``torch.func`` or forward-mode differentiation is active.

    Both need operators that they know, not an ``autograd.Function``.
    """
    if is_compiling():
        return False
    interpreter = torch._C._functorch.peek_interpreter_stack()
    return interpreter is not None or forward_ad._current_level >= 0


def is_channels_last(x: Tensor) -> bool:
    """Tell whether the channels of a pixel are adjacent; false in exports and transforms."""
    if is_exporting() or is_transformed():
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def autocast(x: Tensor) -> Tensor:
    """Cast as an operator with an autocast rule does."""
    device = x.device.type
    if hasattr(torch, 'get_autocast_dtype'):  # since torch 2.4
        enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    elif device == 'cpu':
        enabled, dtype = torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    else:
        enabled, dtype = torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()
    return x.to(dtype) if enabled and x.dtype != torch.float64 else x
