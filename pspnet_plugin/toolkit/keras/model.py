"""The article's network in Keras, with the names that the article gives its layers.

It needs the extra ``[keras]`` and runs on any backend. Keras' layout is N H W C.

Shape shorthand in this module: N: batch; H, W: height and width of the image; C: channels.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pspnet_plugin.models.backbones.dilated_residual_net import ARTICLE_WIDTHS
from pspnet_plugin.models.decode_heads.window_psp_head import GLOBAL, WINDOWS

if TYPE_CHECKING:
    import keras

# The article names its pyramid levels by the colours of the paper's figure.
LEVELS = ('red', 'yellow', 'blue', 'green')
SLOPE = 0.2  # of the blocks' LeakyReLU


def build_keras(
    size: tuple[int, int],
    *,
    widths: Sequence[Sequence[int]] = ARTICLE_WIDTHS,
    windows: Sequence[int | tuple[int, int] | str] = WINDOWS,
    upsampling: str = 'bilinear',
    out_channels: int = 3,
    last_norm: bool = True,
    activation: str = 'sigmoid',
) -> 'keras.Model':
    """Build the article's network for images of one size, with random weights.

    It takes (N, H, W, 3) in 0 to 1 and returns (N, H * W * out_channels). ``widths`` are the
    channels of each block's three convolutions. ``windows`` are (height, width), one number for
    both, or ``'global'`` for the whole feature map; they must divide ``size``. ``upsampling`` is
    ``'bilinear'``, or ``'deconv'`` for transposed convolutions.

    ``ImportError``: Keras is not installed.

    Source: the article's ``last_conv_module`` and what it calls.
    """
    os.environ.setdefault('KERAS_BACKEND', 'torch')
    try:
        from keras import Input, Model, layers
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; install it with pip install 'pspnet-plugin[keras]'"
        ) from None
    x = image = Input((*size, 3))
    for number, width in enumerate(widths, start=1):
        x = _block(layers, x, width, name=f'block_{number}')
    parts = [x]
    channels = widths[-1][-1] // len(windows)
    for i, window in enumerate(windows):
        name = level_name(i)
        is_global = window == GLOBAL
        if is_global:
            pool = layers.GlobalAveragePooling2D(keepdims=True, name=f'{name}_pool')
        else:
            pool = layers.AveragePooling2D(window, name=f'{name}_pool')
        level = layers.Conv2D(channels, 1, name=f'{name}_1_by_1')(pool(x))
        name = f'{name}_upsampling'
        if upsampling == 'deconv' and not is_global:
            up = layers.Conv2DTranspose(channels, window, strides=window, name=name)
        else:
            up = layers.UpSampling2D(
                size if is_global else window, interpolation='bilinear', name=name
            )
        parts.append(up(level))
    x = layers.Concatenate()(parts)
    x = layers.Conv2D(out_channels, 3, padding='same', name='last_conv_3_by_3')(x)
    if last_norm:
        x = layers.BatchNormalization(name='last_conv_3_by_3_batch_norm')(x)
    x = layers.Activation(activation, name='last_conv_relu')(x)
    return Model(image, layers.Flatten(name='last_conv_flatten')(x))


def level_name(index: int) -> str:
    """Return the name of a pyramid level; the article has four."""
    return LEVELS[index] if index < len(LEVELS) else f'level_{index + 1}'


def _block(layers: Any, x: Any, widths: Sequence[int], *, name: str) -> Any:
    """Add the article's ``conv_block``: 1x1, dilated 3x3, 1x1 beside a 3x3 shortcut."""
    shortcut = layers.Conv2D(widths[2], 3, padding='same', name=f'{name}_skip_conv')
    shortcut_norm = layers.BatchNormalization(name=f'{name}_batch_norm_skip_conv')
    y = x
    for part, width, kernel, dilation in zip('abc', widths, (1, 3, 1), (1, 2, 1), strict=True):
        options = dict(dilation_rate=dilation, padding='same', kernel_initializer='he_normal')
        y = layers.Conv2D(width, kernel, name=f'{name}_{part}', **options)(y)
        y = layers.BatchNormalization(name=f'{name}_batch_norm_{part}')(y)
        if part != 'c':
            y = layers.LeakyReLU(negative_slope=SLOPE, name=f'{name}_leakyrelu_{part}')(y)
    y = layers.Add(name=f'{name}_add')([y, shortcut_norm(shortcut(x))])
    return layers.ReLU(name=f'{name}_relu')(y)
