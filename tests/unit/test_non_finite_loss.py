"""Steps whose loss is NaN or infinite stop the run or are skipped."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import BaseDataElement
from torch import nn

from pspnet_plugin.engine.hooks.non_finite_loss_hook import NonFiniteLossHook

BAD = torch.full((4, 2), math.nan)


class Net(BaseModel):
    """A norm, which has statistics, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.linear = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=self.linear(self.norm(inputs)).square().mean())


def train(batches, *, amp=False, **options):
    """Step a model under the hook; returns the model, and what was logged."""
    torch.manual_seed(0)
    model = Net().to('cuda' if amp else 'cpu')
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    wrapper = (AmpOptimWrapper if amp else OptimWrapper)(optimizer=optimizer)
    logged: list[str] = []
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=0, work_dir='nowhere')
    runner.logger = SimpleNamespace(warning=logged.append)
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


def good(count):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 2, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(
    ('bad', 'value'), [(BAD, 'nan'), (torch.full((4, 2), 1e30), '(nan|inf)')], ids=['nan', 'large']
)
def test_run_stops_and_names_iteration_value_rate_and_files(bad, value):
    first, second = good(2)
    with pytest.raises(FloatingPointError, match=f'iteration 2 .*{value} .*0.1; .*/set/1.jpg'):
        train([first, bad, second])


@pytest.mark.parametrize(
    'amp', [False, pytest.param(True, marks=pytest.mark.gpu)], ids=['float32', 'amp']
)
def test_skipped_step_changes_nothing(amp):
    first, second = good(2)
    expected, _ = train([first, second], amp=amp)
    model, logged = train([first, BAD, BAD, second], amp=amp, action='skip')
    for name, ours in model.state_dict().items():
        assert torch.equal(ours, expected.state_dict()[name]), name
    one, two, total = logged
    assert '/set/1.jpg' in one and '/set/2.jpg' in two and total.startswith('2 ')


def test_too_many_skipped_steps_in_a_row_stop_the_run():
    train([BAD, BAD, *good(1), BAD, BAD], action='skip', most_in_a_row=2)
    with pytest.raises(FloatingPointError, match='iteration 3 '):
        train([BAD] * 3, action='skip', most_in_a_row=2)


def test_other_actions_are_refused():
    with pytest.raises(ValueError, match="action='ignore'"):
        NonFiniteLossHook(action='ignore')
