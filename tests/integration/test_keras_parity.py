"""The article's network is the article's: the same picture, the same step, as under Keras."""

import os

import cv2
import numpy as np
import pytest
import torch
from helpers.pairs import CITYSCAPES, ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

os.environ['KERAS_BACKEND'] = 'torch'

import keras  # noqa: E402
import keras.src.backend.common.dtypes as keras_dtypes  # noqa: E402

from pspnet_plugin.toolkit.keras.layers import (  # noqa: E402
    counterpart_of,
    keras_array,
    slots_of,
)
from pspnet_plugin.toolkit.synthetic.street import street_scene  # noqa: E402

CONFIG = ROOT / 'configs/psp_article-rgb_cityscapes_pairs.py'
# The article's choices, by what they change in the head of its config.
CHOICES = {
    'as it stands': {},
    'other windows': dict(windows=('global', 2, 16)),
    'bins 2 3 4 6 8 beside global': dict(windows=None, bins=(1, 2, 3, 4, 6, 8)),
    'deconv': dict(upsampling='deconv'),
    'one channel for two classes': dict(
        type='WindowPSPHead', num_classes=2, out_channels=1, threshold=0.5,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    'a class a channel': dict(
        type='WindowPSPHead', num_classes=7, loss_decode=dict(type='CrossEntropyLoss'),
    ),
}  # fmt: skip


def head_of(choice: dict) -> dict:
    """The config's head after a choice."""
    head = {**Config.fromfile(CONFIG).model.decode_head, **choice}
    if head['type'] == 'WindowPSPHead':
        del head['palette']
    return head


def build(choice: dict, *, dtype=torch.float32, widths=None) -> nn.Module:
    """The article's network after a choice; its norms are no identities."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = Config.fromfile(CONFIG).model
    config.decode_head = head_of(choice)
    if widths:
        config.backbone.widths = widths
        config.decode_head.in_channels = widths[-1][-1]
    model = MODELS.build(config)
    model.init_weights()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith('running_var') or name.endswith(('bn.weight', 'norm.weight')):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(('bias', 'running_mean')):
                tensor.normal_(0, 0.1)
    return model.to(dtype)


@pytest.fixture
def in_float64(monkeypatch):
    """Keras computes in float64, also where its rules of promotion would fall back to float32."""
    monkeypatch.delitem(keras_dtypes.BIT64_TO_BIT32_DTYPE, 'float64')
    for name in ('float64', 'float32'):
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)
        if name == 'float64':
            yield


def street(size, dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A generated photo and its colours, (1, 3, H, W) each, 0 to 1."""
    photo, labels = street_scene(np.random.default_rng(0))
    colors = np.array([*CITYSCAPES['palette'], [0, 0, 0]])[np.minimum(labels, 19)]
    return tuple(
        torch.from_numpy(cv2.resize(picture.astype(np.float64), size[::-1]) / 255)
        .permute(2, 0, 1)[None]
        .to(dtype)
        for picture in (photo, colors)
    )


def by_keras(model, pictures: torch.Tensor) -> torch.Tensor:
    """What a Keras model gives for (N, 3, H, W), as (N, H, W, K)."""
    n, _, height, width = pictures.shape
    with torch.no_grad():
        flat = model(pictures.permute(0, 2, 3, 1).contiguous(), training=False)
    return flat.reshape(n, height, width, -1)


@torch.no_grad()
def by_ours(model, pictures: torch.Tensor) -> torch.Tensor:
    """What our network gives, likewise."""
    feats = model.extract_feat(pictures)
    if hasattr(model.decode_head, 'predict_color'):
        return model.decode_head.predict_color(feats).permute(0, 2, 3, 1)
    logits = model.decode_head(feats).permute(0, 2, 3, 1)
    return logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)


@pytest.mark.parametrize('size', [(256, 256), (128, 384)], ids=str)
def test_the_same_picture_as_keras(size):
    model = build({}).eval()
    pictures = torch.rand(1, 3, *size)
    expected = by_keras(counterpart_of(model, size), pictures)
    assert expected.std() > 0.1
    assert (by_ours(model, pictures) - expected).abs().max() <= 1e-5


def test_the_article_s_number_of_parameters():
    model = build({})
    moving = sum(b.numel() for name, b in model.named_buffers() if 'running_' in name)
    assert sum(p.numel() for p in model.parameters()) + moving == 713_839
    assert counterpart_of(model, (64, 64)).count_params() == 713_839


@pytest.mark.parametrize(
    ('dtype', 'size'),
    [
        ('float64', (64, 96)),
        pytest.param('float32', (256, 256), marks=pytest.mark.long),
        pytest.param('float64', (128, 384), marks=pytest.mark.long),
    ],
    ids=str,
)
def test_a_training_step_moves_everything_as_keras_does(dtype, size, request):
    """In float64 every step, in float32 every weight after it: rounding there is 1e-3 of a step."""
    if dtype == 'float64':
        request.getfixturevalue('in_float64')
    dtype = getattr(torch, dtype)
    model = build({}, dtype=dtype).train()
    counterpart = counterpart_of(model, size)
    pictures, masks = street(size, dtype)
    slots = slots_of(model)
    before = {name: t.detach().clone() for s in slots for _, name, t in s.tensors}

    counterpart.compile(optimizer=keras.optimizers.SGD(0.5), loss='mse')
    loss_of_keras = counterpart.train_on_batch(
        pictures.permute(0, 2, 3, 1).numpy(), masks.permute(0, 2, 3, 1).reshape(1, -1).numpy()
    )
    painted = model.decode_head._paint(model.extract_feat(pictures))
    everywhere = torch.ones(1, *size, dtype=torch.bool)
    values = everywhere.numel()  # that each norm sees of a channel
    loss = model.decode_head.loss_decode(painted, masks, everywhere)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    loss.backward()
    optimizer.step()

    assert loss.item() == pytest.approx(loss_of_keras, rel=1e-5)
    moved = 0
    for slot in slots:
        arrays = counterpart.get_layer(slot.layer).get_weights()
        normed = 'levels' not in slot.name and not slot.is_norm
        for (term, name, tensor), array in zip(slot.tensors, arrays, strict=True):
            ours, old = (keras_array(slot, t) for t in (tensor, before[name]))
            if normed and term == 'bias':  # the loss does not depend on it
                stays = 1e-12 if dtype == torch.float64 else 1e-4 * abs(old).max()
                assert max(abs(ours - old).max(), abs(array - old).max()) < stays
                continue
            if term == 'moving_variance':  # torch's is unbiased, Keras' is not
                array = 0.99 * old + (array - 0.99 * old) * values / (values - 1)
            step = abs(array - old).max()
            assert step > 0, (slot.layer, term)
            scale = step if dtype == torch.float64 else abs(array).max()
            assert abs(ours - array).max() < 1e-4 * scale, (slot.layer, term)
            moved += 1
    assert moved == 17 + 4 + 4 * 13  # kernels, biases of the levels, norms


@pytest.mark.parametrize('name', [n for n in CHOICES if n != 'as it stands'])
def test_the_article_s_choices_match_keras(name):
    widths = ((4, 4, 8), (4, 4, 8), (8, 8, 24))
    model = build(CHOICES[name], widths=widths).eval()
    pictures = torch.rand(2, 3, 48, 96)
    counterpart = counterpart_of(model, (48, 96))
    classes = {type(layer).__name__ for layer in counterpart.layers}
    assert ('Conv2DTranspose' in classes) == (name == 'deconv')
    expected = by_keras(counterpart, pictures)
    assert expected.std() > 0.05
    assert (by_ours(model, pictures) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize('name', CHOICES)
def test_the_article_s_choices_step_and_predict(name):
    model = build(CHOICES[name], widths=((4, 4, 8), (4, 4, 8), (8, 8, 24))).train()
    head = model.decode_head
    size = (64, 96)
    labels = torch.randint(0, head.num_classes, (2, 1, *size))
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(img_shape=size))
        for label in labels
    ]
    model.data_preprocessor.size = size
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for _ in samples]
    batch = model.data_preprocessor(dict(inputs=pictures, data_samples=samples), True)
    losses = []
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(2):
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f'no gradient for {parameter_name}'
    assert losses[1] != losses[0]
    model.eval()
    size = (65, 131)  # which no window divides
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    (found,) = model.test_step(dict(inputs=[picture], data_samples=[sample]))
    assert found.pred_sem_seg.data.shape == (1, *size)
    assert found.seg_logits.data.shape == (head.out_channels, *size)
    assert found.pred_sem_seg.data.max() < head.num_classes


def test_initial_weights_follow_keras():
    """Moments and range of he_normal in the blocks, of glorot_uniform elsewhere, zero biases."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    model.init_weights()
    counterpart = counterpart_of(model, (64, 64))
    seen = set()
    for slot in slots_of(model):
        if slot.is_norm:
            assert (slot.module.weight == 1).all() and (slot.module.bias == 0).all()
            continue
        assert (slot.module.bias == 0).all()
        kind = counterpart.get_layer(slot.layer).kernel_initializer
        seen.add(type(kind).__name__)
        ours = slot.module.weight.detach().double().flatten().numpy()
        shape = keras_array(slot, slot.module.weight).shape
        keras_draw = keras.ops.convert_to_numpy(type(kind)(seed=1)(shape)).ravel().astype(float)
        # Standard errors of the mean, and of the second and fourth moments.
        for power in (1, 2, 4):
            a, b = ours**power, keras_draw**power
            error = np.hypot(a.std(), b.std()) / np.sqrt(a.size)
            assert abs(a.mean() - b.mean()) < 5 * error, (slot.layer, power)
        fans = np.array([np.prod(shape[:-1]), np.prod(shape[:2]) * shape[-1]])
        if isinstance(kind, keras.initializers.HeNormal):
            limit = 2 * np.sqrt(2 / fans[0]) / 0.8796256610342398
        else:
            limit = np.sqrt(6 / fans.sum())
        assert 0.9 * limit < abs(ours).max() <= limit * (1 + 1e-6), slot.layer
    assert seen == {'HeNormal', 'GlorotUniform'}
