"""A loss that is NaN or infinite: the run stops and names pictures, or the step is left out."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from helpers.pairs import ROOT
from helpers.programs import DEMO, on, run_tool, scalars
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import BaseDataElement
from torch import nn

from pspnet_plugin.engine.hooks.non_finite_loss_hook import NonFiniteLossHook

# A transform that makes one picture of the set infinite.
POISON = """
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

@TRANSFORMS.register_module()
class Poison(BaseTransform):
    def transform(self, results):
        if results['img_path'].endswith('/{name}'):
            results['img'] = np.full_like(results['img'], np.nan, dtype=np.float32)
        return results
"""
CONFIG = """
_base_ = {demo!r}
custom_imports = dict(imports=['pspnet_plugin', 'poison'], allow_failed_imports=False)
custom_hooks = [dict(type='NonFiniteLossHook', action={action!r})]
train_pipeline = [
    dict(type='LoadImageFromFile', to_float32=True),
    dict(type='LoadAnnotations'),
    dict(type='Poison'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""


class Net(BaseModel):
    """A norm, which has statistics, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=self.linear(self.norm(inputs)).square().mean())


def train(batches, *, amp=False, **options):
    """Steps of a model under the hook; returns the model, and what was logged."""
    torch.manual_seed(0)
    model = Net().to('cuda' if amp else 'cpu')
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    wrapper = (AmpOptimWrapper if amp else OptimWrapper)(optimizer=optimizer)
    logged = []
    runner = SimpleNamespace(
        model=model, optim_wrapper=wrapper, iter=0, work_dir='nowhere',
        logger=SimpleNamespace(warning=logged.append),
    )  # fmt: skip
    hook = NonFiniteLossHook(**options)
    hook.before_train(runner)
    for i, inputs in enumerate(batches):
        runner.iter = i
        sample = BaseDataElement(metainfo=dict(img_path=f'pair-photo://photo=left//set/{i}.jpg'))
        batch = dict(inputs=inputs.to(model.linear.weight.device), data_samples=[sample])
        hook.before_train_iter(runner, i, batch)
        outputs = model.train_step(batch, wrapper)
        hook.after_train_iter(runner, i, batch, outputs)
    hook.after_train(runner)
    return model, logged


def good(n):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 2, generator=generator) for _ in range(n)]


BAD = torch.full((4, 2), math.nan)


@pytest.mark.parametrize('bad', [BAD, torch.full((4, 2), 1e30)], ids=['nan', 'overflow'])
def test_a_run_stops_and_names_what_it_met(bad):
    first, second = good(2)
    with pytest.raises(FloatingPointError) as caught:
        train([first, bad, second])
    said = str(caught.value)
    assert re.match(
        r'the loss of iteration 2 is (nan|inf) \(learning rate 0.1; the batch was', said
    )
    assert '/set/1.jpg' in said and 'no checkpoint yet' in said and "action='skip'" in said


@pytest.mark.parametrize(
    'amp', [False, pytest.param(True, marks=pytest.mark.gpu)], ids=['float32', 'amp']
)
def test_a_step_left_out_changes_nothing(amp):
    first, second = good(2)
    expected, _ = train([first, second], amp=amp)
    model, logged = train([first, BAD, BAD, second], amp=amp, action='skip')
    for (name, ours), theirs in zip(
        model.state_dict().items(), expected.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert len(logged) == 3 and logged[-1].startswith('2 steps were left out')
    assert '/set/1.jpg); the step is left out' in logged[0]


def test_too_many_in_a_row_stop_the_run():
    train([BAD, BAD, *good(1), BAD, BAD], action='skip', most_in_a_row=2)
    with pytest.raises(FloatingPointError, match='iteration 3 .*as in the 2 steps before it'):
        train([BAD] * 3, action='skip', most_in_a_row=2)


def test_other_actions_are_refused():
    with pytest.raises(ValueError, match="action='ignore', expected one of"):
        NonFiniteLossHook(action='ignore')


@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_under_the_stock_tool(action, demo_root, tmp_path):
    """One poisoned picture of eight, four steps of two: one step meets it."""
    (tmp_path / 'poison.py').write_text(POISON.format(name='5.jpg'))
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(demo=str(DEMO), action=action))
    run = tmp_path / 'run'
    output = run_tool(
        ROOT / 'tools/train.py', config, '--work-dir', run,
        *on(demo_root, 'train_cfg.max_iters=4', 'train_cfg.val_interval=4'),
        env=dict(PYTHONPATH=str(tmp_path)), status=0 if action == 'skip' else 1,
    )  # fmt: skip
    met = re.search(r'the loss of iteration (\d) is nan \(learning rate .*/train/5\.jpg', output)
    saved = sorted(path.name for path in run.glob('iter_*.pth'))
    if action == 'skip':
        assert '1 steps were left out' in output and 'iter_4.pth' in saved
        state = torch.load(run / 'iter_4.pth', weights_only=False)['state_dict']
        assert all(tensor.isfinite().all() for tensor in state.values())
        assert any('mIoU' in entry for entry in scalars(run))
    else:
        before = int(met.group(1)) - 1
        assert saved == [f'iter_{i + 1}.pth' for i in range(before)]
        kept = f'iter_{before}.pth is whole' if before else 'there is no checkpoint yet'
        assert kept in output.strip().splitlines()[-1]
