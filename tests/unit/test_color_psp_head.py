"""The head that predicts colours: its logits are distances, and stock parts take them as such."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.heads import CPU_AUTOCAST, assert_gradients
from helpers.pairs import CITYSCAPES, ROOT
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from pspnet_plugin.models import ColorPSPHead, MinMaxDataPreProcessor
from pspnet_plugin.models.preprocessor import min_max

PALETTE = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]]
CONFIG = ROOT / 'configs/psp_article-rgb_cityscapes_pairs.py'


def build(**kwargs) -> ColorPSPHead:
    torch.manual_seed(0)
    arguments = dict(num_classes=4, palette=PALETTE, in_index=0, windows=('global', 2)) | kwargs
    head = MODELS.build(dict(type='ColorPSPHead', in_channels=8, **arguments))
    head.init_weights()
    return head


def sample(labels: torch.Tensor) -> SegDataSample:
    meta = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), tuple(labels.shape))
    meta['img_path'] = 'a'
    return SegDataSample(gt_sem_seg=PixelData(data=labels[None]), metainfo=meta)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
def test_logits_are_distances_to_the_palette(dtype):
    x = [torch.randn(2, 8, 10, 14, dtype=dtype)]
    head = build().eval().to(dtype)
    color = head.predict_color(x)
    assert color.shape == (2, 3, 10, 14) and color.dtype == dtype
    assert 0 <= color.min() < 0.45 and 0.55 < color.max() <= 1
    colors = torch.tensor(PALETTE, dtype=dtype) / 255
    expected = -(color[:, None] - colors[:, :, None, None]).square().sum(2)
    logits = head(x)
    assert logits.argmax(1).unique().numel() > 1
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)


def test_mean_logits_decide_as_the_mean_color():
    """So sliding windows and resizing give what they would give for colours."""
    colors, logits_of = torch.rand(2, 3, 20, 20), build().eval()._logits
    mean = logits_of(colors).mean(0)
    assert torch.equal(mean.argmax(0), logits_of(colors.mean(0, keepdim=True))[0].argmax(0))


@pytest.mark.parametrize('dtype', CPU_AUTOCAST, ids=str)
def test_distances_keep_their_precision_under_autocast(dtype):
    head, x = build().eval(), [torch.randn(1, 8, 12, 12)]
    with torch.no_grad():
        expected = head(x)
        with torch.autocast('cpu', dtype=dtype):
            logits, color = head(x), head.predict_color(x)
    assert logits.dtype == color.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.05)
    exact = -(color[:, None] - head.palette[:, :, None, None]).square().sum(2)
    torch.testing.assert_close(logits, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('criterion', 'reference'),
    [('mse', F.mse_loss), ('l1', F.l1_loss), ('bce', F.binary_cross_entropy)],
)
def test_loss_is_the_mean_over_labelled_pixels(criterion, reference):
    head = build(loss_decode=dict(type='ColorLoss', criterion=criterion, loss_weight=0.5))
    labels = torch.randint(0, 4, (2, 10, 14))
    labels[0, :5] = 255
    x = [torch.randn(2, 8, 10, 14)]
    color = head.predict_color(x).permute(0, 2, 3, 1)  # in training mode, as in the loss
    keep = labels != 255
    target = torch.tensor(PALETTE)[labels[keep]] / 255
    losses = head.loss(x, [sample(one) for one in labels], {})
    torch.testing.assert_close(losses['loss_color'], 0.5 * reference(color[keep], target))
    right = head(x).argmax(1)[keep] == labels[keep]
    assert losses['acc_seg'].item() == pytest.approx(100 * right.float().mean().item())


def test_loss_is_zero_where_nothing_is_labelled():
    x = torch.randn(1, 8, 8, 8, requires_grad=True)
    loss = build().loss([x], [sample(torch.full((8, 8), 255))], {})['loss_color']
    loss.backward()
    assert loss == 0 and x.grad.abs().sum() == 0


def test_gradients_of_several_losses_reach_every_parameter():
    """From a feature map smaller than the labels, as under a backbone with a stride."""
    named = dict(loss_square='mse', loss_cross='bce')
    head = build(loss_decode=[dict(type='ColorLoss', loss_name=n, criterion=c)
                              for n, c in named.items()])  # fmt: skip
    labels = torch.randint(0, 4, (32, 48))
    losses = head.loss([torch.randn(1, 8, 8, 12)], [sample(labels)], {})
    assert set(losses) == {'loss_square', 'loss_cross', 'acc_seg'}
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert_gradients(head, at_least=6)


@pytest.mark.parametrize(
    ('kwargs', 'named'),
    [
        (dict(num_classes=3), 'num_classes=3.*4 colours'),
        (dict(palette='cityscape'), "'cityscape'.*cityscapes"),
        (dict(palette=[[1, 2]] * 4), r'palette\[0\].*\[1, 2\]'),
        (dict(palette=[[1, 2, 3]] * 4), r'\(1, 2, 3\)'),
        (dict(out_channels=1), 'out_channels=1'),
        (dict(sampler=dict(type='OHEMPixelSampler')), 'sampler='),
        (dict(loss_decode=dict(type='CrossEntropyLoss')), 'CrossEntropyLoss'),
        (dict(loss_decode=dict(type='ColorLoss', criterion='ssim')), "'ssim'.*mse"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(kwargs, named):
    with pytest.raises(ValueError, match=named):
        build(**kwargs)


def test_the_palette_is_in_no_checkpoint_and_may_be_a_name():
    assert not any('palette' in key for key in build().state_dict())
    named = build(num_classes=19, palette='cityscapes')
    assert (named.palette * 255).round().int().tolist() == CITYSCAPES['palette']


def test_min_max_is_the_article_s_scaling():
    image = np.random.default_rng(0).integers(20, 200, (9, 7, 3), dtype=np.uint8)
    expected = cv2.normalize(image, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)
    scaled = min_max(torch.from_numpy(image).permute(2, 0, 1))
    assert scaled.min() == 0 and scaled.max() == 1
    np.testing.assert_allclose(scaled.permute(1, 2, 0).numpy(), expected, atol=1e-6)
    assert (min_max(torch.full((3, 4, 4), 7, dtype=torch.uint8)) == 0).all()


def test_preprocessor_scales_each_image_and_pads_after():
    preprocess = MODELS.build(
        dict(type='MinMaxDataPreProcessor', bgr_to_rgb=True, size=(8, 8), pad_val=0)
    )
    images = [torch.randint(50, 90, (3, 6, 8)), torch.randint(100, 250, (3, 8, 8))]
    samples = [sample(torch.zeros(p.shape[1:], dtype=torch.long)) for p in images]
    inputs = preprocess(dict(inputs=images, data_samples=samples), True)['inputs']
    assert inputs.shape == (2, 3, 8, 8)
    assert (inputs[0, :, 6:] == 0).all()
    for got, image in zip(inputs, images, strict=True):
        torch.testing.assert_close(got[:, : image.shape[1]], min_max(image).flip(0))


@pytest.mark.parametrize('kwargs', [dict(mean=[1, 2, 3]), dict(std=[1, 2, 3])], ids=str)
def test_mean_and_std_beside_min_max_are_refused(kwargs):
    with pytest.raises(ValueError, match=r'\[1, 2, 3\]'):
        MinMaxDataPreProcessor(**kwargs)


@pytest.fixture(scope='module')
def network():
    """The article's network with fewer channels."""
    torch.manual_seed(0)
    config = Config.fromfile(CONFIG)
    config.model.backbone.widths = ((8, 8, 16), (8, 8, 16), (8, 8, 16))
    config.model.decode_head.in_channels = 16
    model = MODELS.build(config.model)
    model.init_weights()
    return model.eval()


@pytest.mark.parametrize(
    'cfg', [dict(mode='whole'), dict(mode='slide', crop_size=(48, 48), stride=(32, 32))], ids=str
)
def test_images_of_any_shape_whole_and_in_windows(network, monkeypatch, cfg):
    monkeypatch.setattr(network, 'test_cfg', ConfigDict(cfg))
    image = torch.randint(0, 256, (3, 65, 100), dtype=torch.uint8)
    batch = dict(inputs=[image], data_samples=[sample(torch.zeros(65, 100))])
    (result,) = network.test_step(batch)
    assert result.pred_sem_seg.data.shape == (1, 65, 100)
    assert result.seg_logits.data.shape == (19, 65, 100)
    assert -3 <= result.seg_logits.data.min() < result.seg_logits.data.max() <= 1e-5


def test_augmented_tests(network):
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    views = [[sample(torch.zeros(64, 96))] for _ in range(2)]
    for flip, (view,) in enumerate(views):
        view.set_metainfo(dict(flip=bool(flip), flip_direction='horizontal'))
    tta = MODELS.build(dict(type='SegTTAModel', module=network))
    (merged,) = tta.test_step(dict(inputs=[[image], [image.flip(-1)]], data_samples=views))
    assert merged.pred_sem_seg.data.shape[-2:] == (64, 96)
