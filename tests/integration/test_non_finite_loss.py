"""One image of a set whose loss is NaN, under the stock tool."""

import re

import torch
from helpers.pairs import ROOT
from helpers.programs import DEMO, on, run_tool, scalars

POISON = """
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

@TRANSFORMS.register_module()
class Poison(BaseTransform):
    def transform(self, results):
        if results['img_path'].endswith('/5.jpg'):
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


def train(action, demo_root, folder):
    """Four steps of two of eight images: one step meets it. Returns work directory and output."""
    (folder / 'poison.py').write_text(POISON)
    config = folder / 'config.py'
    config.write_text(CONFIG.format(demo=str(DEMO), action=action))
    output = run_tool(
        ROOT / 'tools/train.py', config, '--work-dir', folder / 'run',
        *on(demo_root, 'train_cfg.max_iters=4', 'train_cfg.val_interval=4'),
        env=dict(PYTHONPATH=str(folder)), status=0 if action == 'skip' else 1,
    )  # fmt: skip
    bad = re.search(r'iteration (\d) .*nan .*/train/5\.jpg', output)
    return folder / 'run', output, int(bad[1])


def test_run_stops_with_the_checkpoints_before(demo_root, tmp_path):
    run, output, bad = train('stop', demo_root, tmp_path)
    saved = sorted(path.name for path in run.glob('iter_*.pth'))
    assert saved == [f'iter_{i}.pth' for i in range(1, bad)]
    assert (f'iter_{bad - 1}.pth' in output.strip().splitlines()[-1]) == (bad > 1)


def test_skipped_step_leaves_finite_weights_and_a_score(demo_root, tmp_path):
    run, *_ = train('skip', demo_root, tmp_path)
    state = torch.load(run / 'iter_4.pth', weights_only=False)['state_dict']
    assert state and all(tensor.isfinite().all() for tensor in state.values())
    assert any('mIoU' in entry for entry in scalars(run))
