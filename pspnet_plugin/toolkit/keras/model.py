"""The article's network in Keras, with the names that the article gives its layers.

It needs the extra ``[keras]``; any backend serves. Keras' layout is N H W C.

Shape shorthand in this module: N: batch; H, W: height and width of the picture; C: maps.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pspnet_plugin.models.backbones.dilated_residual_net import ARTICLE_WIDTHS
from pspnet_plugin.models.decode_heads.window_psp_head import GLOBAL, WINDOWS

if TYPE_CHECKING:
    import keras

# The article names its levels by the colours of the paper's figure.
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
    """The article's network for pictures of one size, with random weights.

    Args:
        size: (H, W); the windows have to divide both.
        widths: Of each block's three convolutions.
        windows: Sides of the pyramid's windows, (height, width) or one number for both;
            ``'global'`` pools the whole map.
        upsampling: ``'bilinear'``, or ``'deconv'`` for transposed convolutions.
        out_channels: Of the last convolution.
        last_norm: Whether a batch norm follows it.
        activation: Of the output.

    Returns:
        A model that takes (N, H, W, 3) in 0 to 1 and gives (N, H * W * out_channels).

    Raises:
        ImportError: Keras is not installed.

    Source: the article's ``last_conv_module`` and what it calls.
    """
    os.environ.setdefault('KERAS_BACKEND', 'torch')
    try:
        from keras import Input, Model, layers
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; install it with pip install 'pspnet-plugin[keras]'"
        ) from None
    picture = Input((*size, 3))
    x = picture
    for i, width in enumerate(widths, start=1):
        x = _block(layers, x, width, name=f'block_{i}_')
    maps = [x]
    channels = widths[-1][-1]
    for i, window in enumerate(windows):
        name = level_name(i)
        if window == GLOBAL:
            level = layers.GlobalAveragePooling2D(keepdims=True, name=f'{name}_pool')(x)
        else:
            level = layers.AveragePooling2D(window, name=f'{name}_pool')(x)
        count = channels // len(windows)
        level = layers.Conv2D(count, 1, name=f'{name}_1_by_1')(level)
        if upsampling == 'bilinear' or window == GLOBAL:
            up = layers.UpSampling2D(
                size if window == GLOBAL else window,
                interpolation='bilinear',
                name=f'{name}_upsampling',
            )
        else:
            up = layers.Conv2DTranspose(count, window, strides=window, name=f'{name}_upsampling')
        maps.append(up(level))
    x = layers.Concatenate()(maps)
    x = layers.Conv2D(out_channels, 3, padding='same', name='last_conv_3_by_3')(x)
    if last_norm:
        x = layers.BatchNormalization(name='last_conv_3_by_3_batch_norm')(x)
    x = layers.Activation(activation, name='last_conv_relu')(x)
    return Model(picture, layers.Flatten(name='last_conv_flatten')(x))


def level_name(position: int) -> str:
    """The article's name of a pyramid level; it has four."""
    return LEVELS[position] if position < len(LEVELS) else f'level_{position + 1}'


def _block(layers, x, widths: Sequence[int], *, name: str):
    """The article's ``conv_block``: 1x1, dilated 3x3, 1x1 beside a 3x3 shortcut."""
    shortcut = layers.Conv2D(widths[2], 3, padding='same', name=f'{name}skip_conv')
    norm_of_shortcut = layers.BatchNormalization(name=f'{name}batch_norm_skip_conv')
    y = x
    for part, width, kernel, dilation in zip('abc', widths, (1, 3, 1), (1, 2, 1), strict=True):
        y = layers.Conv2D(
            width,
            kernel,
            dilation_rate=dilation,
            padding='same',
            kernel_initializer='he_normal',
            name=f'{name}{part}',
        )(y)
        y = layers.BatchNormalization(name=f'{name}batch_norm_{part}')(y)
        if part != 'c':
            y = layers.LeakyReLU(negative_slope=SLOPE, name=f'{name}leakyrelu_{part}')(y)
    y = layers.Add(name=f'{name}add')([y, norm_of_shortcut(shortcut(x))])
    return layers.ReLU(name=f'{name}relu')(y)
