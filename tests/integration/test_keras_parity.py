"""The network is the article's: outputs, training step and initial weights match Keras."""

import numpy as np
import pytest
import torch
from helpers.article import build, check_training_step, keras
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from pspnet_plugin.models import DilatedResidualNet
from pspnet_plugin.toolkit.keras.layers import article_modules, to_keras_layout, to_keras_model

NARROW = ((4, 4, 8), (4, 4, 8), (8, 8, 24))
# The article's choices, by what they change in the head of its config.
CHOICES = {
    'other windows': dict(windows=('global', 2, 16)),
    'bins': dict(windows=None, bins=(1, 2, 3, 4, 6, 8)),
    'deconv': dict(upsampling='deconv'),
    'one channel': dict(
        type='WindowPSPHead', num_classes=2, out_channels=1, threshold=0.5,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    'a channel per class': dict(
        type='WindowPSPHead', num_classes=7, loss_decode=dict(type='CrossEntropyLoss'),
    ),
}  # fmt: skip


@torch.no_grad()
def outputs(model, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of the network and of its Keras counterpart for one image, (1, H, W, K) each."""
    counterpart = to_keras_model(model.eval(), size)
    image = torch.rand(1, *size, 3)
    expected = counterpart(image, training=False).reshape(1, *size, -1)
    feats = model.extract_feat(image.permute(0, 3, 1, 2))
    if hasattr(model.decode_head, 'predict_color'):
        found = model.decode_head.predict_color(feats)
    else:
        logits = model.decode_head(feats)
        found = logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
    return found.permute(0, 2, 3, 1), expected


@pytest.mark.parametrize(
    ('choice', 'widths', 'size'),
    [(None, (), (256, 256)), (None, (), (128, 384)), *((c, NARROW, (48, 96)) for c in CHOICES)],
    ids=str,
)
def test_outputs_match_keras(choice, widths, size):
    found, expected = outputs(build(CHOICES.get(choice), widths=widths), size)
    assert expected.std() > 0.05
    assert (found - expected).abs().max() <= 1e-5


def test_number_of_parameters_is_the_article_s():
    model = build()
    moving = sum(b.numel() for name, b in model.named_buffers() if 'running_' in name)
    assert sum(p.numel() for p in model.parameters()) + moving == 713_839
    assert to_keras_model(model, (64, 64)).count_params() == 713_839


def test_a_training_step_changes_the_weights_as_under_keras():
    check_training_step((64, 96), torch.float64)


@pytest.mark.parametrize('name', CHOICES)
def test_the_article_s_choices_train_and_predict(name):
    model = build(CHOICES[name], widths=NARROW).train()
    size = model.data_preprocessor.size = (65, 131)  # no window divides it
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    labels = torch.randint(0, model.decode_head.num_classes, (1, *size))
    sample.gt_sem_seg = PixelData(data=labels)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    batch = dict(inputs=[image], data_samples=[sample])
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, f'no gradient for {parameter_name}'
    (output,) = model.eval().test_step(batch)
    assert output.pred_sem_seg.data.shape == (1, *size)
    assert output.seg_logits.data.shape == (model.decode_head.out_channels, *size)
    assert output.pred_sem_seg.data.max() < model.decode_head.num_classes


def test_initial_weights_are_distributed_as_in_keras():
    """Blocks have he_normal, other convolutions glorot_uniform; biases are zero."""
    model = build(random_norms=False)
    counterpart = to_keras_model(model, (64, 64))
    initializers = set()
    for layer, name, module in article_modules(model):
        assert (module.bias == 0).all()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            continue
        kind = type(counterpart.get_layer(layer).kernel_initializer)
        initializers.add(kind)
        ours = module.weight.detach().double().flatten().numpy()
        shape = to_keras_layout(module.weight).shape
        drawn = keras.ops.convert_to_numpy(kind(seed=1)(shape)).ravel().astype(float)
        for power in (1, 2, 4):  # within 5 standard errors of the moment
            a, b = ours**power, drawn**power
            error = np.hypot(a.std(), b.std()) / np.sqrt(a.size)
            assert abs(a.mean() - b.mean()) < 5 * error, (name, power)
        fans = np.prod(shape[:-1]), np.prod(shape[:2]) * shape[-1]
        if kind is keras.initializers.HeNormal:
            limit = 2 * np.sqrt(2 / fans[0]) / 0.8796256610342398  # truncated at 2 sigma
        else:
            limit = np.sqrt(6 / sum(fans))
        assert 0.9 * limit < abs(ours).max() <= limit * (1 + 1e-6), name
    assert initializers == {keras.initializers.HeNormal, keras.initializers.GlorotUniform}


@pytest.mark.parametrize(
    ('backbone', 'layer'),
    [
        (dict(identity_shortcuts=True, blocks=(1, 1, 2)), 'block_4_skip_conv'),
        (dict(norm_cfg=dict(type='GN', num_groups=2)), 'block_1_batch_norm_a'),
    ],
    ids=['identity shortcuts', 'group norms'],
)
def test_blocks_unlike_the_article_s_are_refused(backbone, layer):
    model = build()
    model.backbone = DilatedResidualNet(**backbone)
    with pytest.raises(ValueError, match=layer):
        to_keras_model(model, (32, 32))
