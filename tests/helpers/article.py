"""The article's network and its counterpart in Keras."""

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from helpers.pairs import CITYSCAPES, ROOT

os.environ['KERAS_BACKEND'] = 'torch'

import keras  # noqa: E402
from keras.src.backend.common import dtypes as keras_dtypes  # noqa: E402

from pspnet_plugin.toolkit.keras.layers import (  # noqa: E402
    article_modules,
    to_keras_layout,
    to_keras_model,
)
from pspnet_plugin.toolkit.synthetic import street_scene  # noqa: E402

CONFIG = ROOT / 'configs/psp_article-rgb_cityscapes_pairs.py'


def build(choice: dict | None = None, *, widths: tuple = (), random_norms=True) -> nn.Module:
    """The network after ``choice`` in its head, with random norms if ``random_norms``."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = Config.fromfile(CONFIG).model
    config.decode_head = {**config.decode_head, **(choice or {})}
    if config.decode_head.type == 'WindowPSPHead':
        del config.decode_head.palette
    if widths:
        config.backbone.widths = widths
        config.decode_head.in_channels = widths[-1][-1]
    model = MODELS.build(config)
    model.init_weights()
    with torch.no_grad():
        for name, tensor in model.state_dict().items() if random_norms else ():
            if name.endswith(('running_var', 'bn.weight', 'norm.weight')):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(('bias', 'running_mean')):
                tensor.normal_(0, 0.1)
    return model


@contextlib.contextmanager
def keras_in(dtype: str) -> Iterator[None]:
    """Let Keras compute in a precision, also where it would demote float64 to float32."""
    with mock.patch.dict(keras_dtypes.BIT64_TO_BIT32_DTYPE, float64=dtype):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        try:
            yield
        finally:
            keras.config.set_floatx('float32')
            keras.config.set_dtype_policy('float32')


def check_training_step(size: tuple[int, int], dtype: torch.dtype) -> None:
    """Compare a step of SGD with Keras: in float64 each change, in float32 each weight after it.

    In float32, rounding is 1e-3 of a change.
    """
    model = build().to(dtype).train()
    photo, labels = street_scene(np.random.default_rng(0))
    colors = np.array([*CITYSCAPES['palette'], [0, 0, 0]])[np.minimum(labels, 19)]
    image, target = (
        torch.from_numpy(cv2.resize(half.astype(float), size[::-1]) / 255)[None].to(dtype)
        for half in (photo, colors)
    )  # (1, H, W, 3)
    modules = article_modules(model)
    before = {n: to_keras_layout(t).copy() for m in modules for n, t in m.tensors.items()}
    with keras_in(str(dtype).removeprefix('torch.')):
        counterpart = to_keras_model(model, size)
        counterpart.compile(optimizer=keras.optimizers.SGD(0.5), loss='mse')
        keras_loss = counterpart.train_on_batch(image.numpy(), target.reshape(1, -1).numpy())

    head = model.decode_head
    before_sigmoid = head._before_sigmoid(model.extract_feat(image.permute(0, 3, 1, 2)))
    everywhere = torch.ones(1, *size, dtype=torch.bool)
    loss = head.loss_decode(before_sigmoid, target.permute(0, 3, 1, 2), everywhere)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    loss.backward()
    optimizer.step()
    assert loss.item() == pytest.approx(keras_loss, rel=1e-5)

    changed = 0
    values = everywhere.numel()  # of a channel, in each norm
    for module in modules:
        arrays = counterpart.get_layer(module.layer).get_weights()
        for (name, tensor), array in zip(module.tensors.items(), arrays, strict=True):
            ours, old = to_keras_layout(tensor), before[name]
            if name.endswith('conv.bias') and 'levels' not in name or name.endswith('seg.bias'):
                # A norm follows: the loss does not depend on it.
                limit = 1e-12 if dtype == torch.float64 else 1e-4 * abs(old).max()
                assert max(abs(ours - old).max(), abs(array - old).max()) < limit
                continue
            if name.endswith('running_var'):  # unbiased in torch, biased in Keras
                array = 0.99 * old + (array - 0.99 * old) * values / (values - 1)
            change = abs(array - old).max()
            assert change > 0, name
            scale = change if dtype == torch.float64 else abs(array).max()
            assert abs(ours - array).max() < 1e-4 * scale, name
            changed += 1
    assert changed == 17 + 4 + 4 * 13  # kernels, biases of the levels, norms
