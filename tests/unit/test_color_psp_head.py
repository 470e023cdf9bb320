"""The head that paints: its logits are distances, and the framework's parts take them as such."""

import pytest
import torch
import torch.nn.functional as F
from helpers.heads import CPU_AUTOCAST
from helpers.pairs import CITYSCAPES, ROOT
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from pspnet_plugin.models import ColorLoss, ColorPSPHead, MinMaxDataPreProcessor
from pspnet_plugin.models.preprocessor import min_max

PALETTE = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]
CONFIG = ROOT / 'configs/psp_article-rgb_cityscapes_pairs.py'


def head(**kwargs) -> ColorPSPHead:
    torch.manual_seed(0)
    arguments = dict(num_classes=4, palette=PALETTE, in_index=0, windows=('global', 2))
    built = MODELS.build(dict(type='ColorPSPHead', in_channels=8, **{**arguments, **kwargs}))
    built.init_weights()
    return built


def sample(labels: torch.Tensor) -> SegDataSample:
    return SegDataSample(gt_sem_seg=PixelData(data=labels[None]))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
def test_logits_are_distances_to_the_palette(dtype):
    x = [torch.randn(2, 8, 10, 14, dtype=dtype)]
    painter = head().eval().to(dtype)
    color = painter.predict_color(x)
    assert color.shape == (2, 3, 10, 14) and color.dtype == dtype
    assert 0 <= color.min() < 0.45 and 0.55 < color.max() <= 1
    colors = torch.tensor(PALETTE, dtype=dtype) / 255
    expected = -(color[:, None] - colors[:, :, None, None]).square().sum(2)
    logits = painter(x)
    assert logits.argmax(1).unique().numel() > 1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)


def test_mean_logits_decide_as_the_mean_color():
    """So sliding windows, and resizing, do not depend on the detour over classes."""
    painter = head().eval()
    colors = torch.rand(2, 1, 3, 20, 20)
    of_mean = painter._logits(colors.mean(0))
    mean = torch.stack([painter._logits(color) for color in colors]).mean(0)
    assert torch.equal(mean.argmax(1), of_mean.argmax(1))


@pytest.mark.parametrize('dtype', CPU_AUTOCAST, ids=str)
def test_distances_keep_their_precision_under_autocast(dtype):
    painter, x = head().eval(), [torch.randn(1, 8, 12, 12)]
    with torch.no_grad():
        expected = painter(x)
        with torch.autocast('cpu', dtype=dtype):
            logits, color = painter(x), painter.predict_color(x)
    assert logits.dtype == color.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.05)
    exact = -(color[:, None] - painter.palette[:, :, None, None]).square().sum(2)
    torch.testing.assert_close(logits, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('criterion', 'reference'),
    [('mse', F.mse_loss), ('l1', F.l1_loss), ('bce', F.binary_cross_entropy)],
    ids=['mse', 'l1', 'bce'],
)
def test_loss_is_the_mean_over_labelled_pixels(criterion, reference):
    painter = head(loss_decode=dict(type='ColorLoss', criterion=criterion, loss_weight=0.5))
    labels = torch.randint(0, 4, (2, 10, 14))
    labels[0, :5] = 255
    x = [torch.randn(2, 8, 10, 14)]
    color = painter.predict_color(x).permute(0, 2, 3, 1)  # in training mode, as in the loss
    keep = labels != 255
    target = torch.tensor(PALETTE)[labels[keep]] / 255
    losses = painter.loss(x, [sample(one) for one in labels], {})
    torch.testing.assert_close(losses['loss_color'], 0.5 * reference(color[keep], target))
    right = painter(x).argmax(1)[keep] == labels[keep]
    assert losses['acc_seg'].item() == pytest.approx(100 * right.float().mean().item())


def test_nothing_labelled_is_no_loss():
    painter = head()
    x = [torch.randn(1, 8, 8, 8, requires_grad=True)]
    losses = painter.loss(x, [sample(torch.full((8, 8), 255))], {})
    losses['loss_color'].backward()
    assert losses['loss_color'] == 0 and x[0].grad.abs().sum() == 0


def test_several_losses_and_a_map_smaller_than_the_labels():
    """As under a backbone with a stride."""
    painter = head(
        loss_decode=[
            dict(type='ColorLoss', loss_name='loss_square'),
            dict(type='ColorLoss', criterion='bce', loss_name='loss_cross'),
        ]
    )
    labels = torch.randint(0, 4, (32, 48))
    losses = painter.loss([torch.randn(1, 8, 8, 12)], [sample(labels)], {})
    assert set(losses) == {'loss_square', 'loss_cross', 'acc_seg'}
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    for name, parameter in painter.named_parameters():
        assert parameter.grad is not None, f'no gradient for {name}'


def test_it_learns_to_paint():
    painter = head()
    x = [torch.randn(2, 8, 12, 12)]
    labels = x[0][:, :4].argmax(1)
    optimizer = torch.optim.Adam(painter.parameters(), 0.03)
    first = last = None
    for _ in range(60):
        losses = painter.loss(x, [sample(one) for one in labels], {})
        last = losses['loss_color'].item()
        first = last if first is None else first
        optimizer.zero_grad()
        losses['loss_color'].backward()
        optimizer.step()
    assert last < 0.5 * first and losses['acc_seg'] > 75


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(num_classes=3), 'num_classes=3, but the palette has 4'),
        (dict(palette='cityscape'), "palette='cityscape': expected one of cityscapes"),
        (dict(palette=[[1, 2]] * 4), r'palette\[0\] = \[1, 2\]'),
        (dict(palette=[[1, 2, 3]] * 4), r'\(1, 2, 3\).* twice'),
        (dict(out_channels=1), 'out_channels=1 is for heads'),
        (dict(sampler=dict(type='OHEMPixelSampler')), 'sampler=.* is for heads'),
        (dict(loss_decode=dict(type='CrossEntropyLoss')), 'has a CrossEntropyLoss'),
        (dict(loss_decode=dict(type='ColorLoss', criterion='ssim')), "'ssim', expected one of"),
    ],
    ids=['classes', 'name', 'no colour', 'twice', 'binary', 'sampler', 'loss', 'criterion'],
)  # fmt: skip
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        head(**kwargs)


def test_the_palette_is_no_weight():
    """So checkpoints do not fix it; a name stands for the dataset's colours."""
    assert not any('palette' in key for key in head().state_dict())
    named = head(num_classes=19, palette='cityscapes')
    assert (named.palette * 255).round().int().tolist() == CITYSCAPES['palette']


def test_min_max_is_the_article_s_scaling():
    import cv2
    import numpy as np

    picture = np.random.default_rng(0).integers(20, 200, (9, 7, 3), dtype=np.uint8)
    expected = cv2.normalize(picture, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
    scaled = min_max(torch.from_numpy(picture).permute(2, 0, 1))
    assert scaled.min() == 0 and scaled.max() == 1
    np.testing.assert_allclose(scaled.permute(1, 2, 0).numpy(), expected, atol=1e-6)
    assert (min_max(torch.full((3, 4, 4), 7, dtype=torch.uint8)) == 0).all()


def test_preprocessor_scales_each_picture_and_pads_after():
    preprocess = MODELS.build(
        dict(type='MinMaxDataPreProcessor', bgr_to_rgb=True, size=(8, 8), pad_val=0)
    )
    pictures = [torch.randint(50, 90, (3, 6, 8)), torch.randint(100, 250, (3, 8, 8))]
    samples = [sample(torch.zeros(p.shape[1:], dtype=torch.long)) for p in pictures]
    inputs = preprocess(dict(inputs=pictures, data_samples=samples), True)['inputs']
    assert inputs.shape == (2, 3, 8, 8)
    assert (inputs[0, :, 6:] == 0).all()
    for got, picture in zip(inputs, pictures, strict=True):
        height = picture.shape[1]
        torch.testing.assert_close(got[:, :height], min_max(picture).flip(0))


def test_mean_and_std_beside_min_max_are_refused():
    with pytest.raises(ValueError, match='leave out mean and std'):
        MinMaxDataPreProcessor(mean=[1, 2, 3], std=[1, 1, 1])


@pytest.fixture(scope='module')
def network():
    """The article's network on fewer maps, with norms that fit its input."""
    from mmengine.registry import init_default_scope

    init_default_scope('mmseg')
    torch.manual_seed(0)
    config = Config.fromfile(CONFIG)
    config.model.backbone.widths = ((8, 8, 16), (8, 8, 16), (8, 8, 16))
    config.model.decode_head.in_channels = 16
    model = MODELS.build(config.model)
    model.init_weights()
    return model


@pytest.mark.parametrize('size', [(256, 256), (257, 300), (300, 511)], ids=str)
def test_pictures_of_any_shape(network, size):
    network.eval()
    picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    data = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    (found,) = network.test_step(dict(inputs=[picture], data_samples=[data]))
    assert found.pred_sem_seg.data.shape == (1, *size)
    assert found.seg_logits.data.shape == (19, *size)


def test_sliding_windows_and_augmented_tests(network):
    network.eval()
    picture = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    meta = dict(img_shape=(64, 96), ori_shape=(64, 96))
    network.test_cfg = ConfigDict(mode='slide', crop_size=(48, 48), stride=(32, 32))
    try:
        data = SegDataSample(metainfo=meta)
        (found,) = network.test_step(dict(inputs=[picture], data_samples=[data]))
        assert found.seg_logits.data.shape == (19, 64, 96)
        assert found.seg_logits.data.min() >= -3 and found.seg_logits.data.max() <= 1e-5
    finally:
        network.test_cfg = ConfigDict(mode='whole')
    tta: BaseTTAModel = MODELS.build(dict(type='SegTTAModel', module=network))
    views = [
        [SegDataSample(metainfo=dict(meta, img_path='a', flip=flip, flip_direction='horizontal'))]
        for flip in (False, True)
    ]
    inputs = [[picture], [picture.flip(-1)]]
    (merged,) = tta.test_step(dict(inputs=inputs, data_samples=views))
    assert merged.pred_sem_seg.data.shape[-2:] == (64, 96)


def test_a_stock_backbone_with_frozen_stages_under_the_article_s_head():
    """Transfer learning: everything but the frozen stages gets a gradient."""
    config = Config.fromfile(CONFIG).model
    config.backbone = dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, frozen_stages=1,
        strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), norm_cfg=dict(type='BN'),
    )  # fmt: skip
    config.decode_head.update(in_channels=64, in_index=3)
    model = MODELS.build(config)
    model.init_weights()
    model.train()
    inputs = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8) for _ in range(2)]
    samples = [sample(torch.randint(0, 19, (64, 96))) for _ in inputs]
    for data in samples:
        data.set_metainfo(dict(img_shape=(64, 96), ori_shape=(64, 96), pad_shape=(64, 96)))
    config.data_preprocessor.size = (64, 96)
    model.data_preprocessor.size = (64, 96)
    batch = model.data_preprocessor(dict(inputs=inputs, data_samples=samples), True)
    loss, _ = model.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    frozen = {n for n, p in model.named_parameters() if p.grad is None}
    assert frozen and all(n.startswith(('backbone.stem', 'backbone.layer1')) for n in frozen)


def test_color_loss_is_registered():
    assert isinstance(MODELS.build(dict(type='ColorLoss', criterion='l1')), ColorLoss)
