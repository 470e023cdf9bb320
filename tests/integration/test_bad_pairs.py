"""Bad pairs in dataloader workers and in a training by the stock tools."""

import shutil
from pathlib import Path

import pytest
from helpers.pairs import ROOT, build, write_pair
from helpers.programs import DEMO, on, run_tool, scalars
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from pspnet_plugin.engine.loops.sampling import SeededDataset


def load(dataset, **options):
    """Batches of two in two worker processes."""
    return Runner.build_dataloader(
        dict(
            dataset=dataset,
            sampler=DefaultSampler(dataset, shuffle=False),
            batch_size=2,
            num_workers=2,
            collate_fn=dict(type='pseudo_collate'),
            **options,
        )
    )


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_what_the_parent_reads(pairs_root, method):
    dataset = build(pairs_root)
    batches = list(load(dataset, multiprocessing_context=method))
    inputs = [image for batch in batches for image in batch['inputs']]
    samples = [sample for batch in batches for sample in batch['data_samples']]
    assert len(inputs) == 4
    for image, sample, expected in zip(inputs, samples, dataset, strict=True):
        assert (image == expected['inputs']).all()
        assert (sample.gt_sem_seg.data == expected['data_samples'].gt_sem_seg.data).all()


def test_worker_names_a_bad_pair(pairs_root):
    (pairs_root / 'train' / '3.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'3\.png') as error:
        list(load(build(pairs_root)))
    assert '.BadPair: ' in str(error.value).strip().splitlines()[-1]


@pytest.mark.parametrize('workers', [0, 2])
def test_pair_lost_in_training_is_marked_and_replaced(workers, pairs_root):
    dataset = build(pairs_root, on_bad_pair='skip')
    (pairs_root / 'train/2.png').unlink()
    (pairs_root / 'train/3.png').write_bytes(b'bad')
    seeded = SeededDataset(dataset, seed=0)
    order = [(position, position % 4) for position in range(8)]
    loader = DataLoader(seeded, sampler=order, num_workers=workers, collate_fn=lambda batch: batch)
    names = [Path(sample['data_samples'].img_path).name for (sample,) in loader]
    assert set(names) == {'1.png', '4.png'} and len(names) == 8
    assert dataset.bad_pairs.lost.tolist() == [0, 1, 1, 0]
    assert names == [Path(s['data_samples'].img_path).name for (s,) in loader], 'repeatable'


def test_training_reports_what_it_skipped_and_lost(demo_root, tmp_path):
    """Bad pairs in train and val from the start, and one that vanishes."""
    root = tmp_path / 'pairs'
    shutil.copytree(demo_root, root)
    for split in ('train', 'val'):
        write_pair(root / split / 'bad.jpg')
        content = (root / split / 'bad.jpg').read_bytes()
        (root / split / 'bad.jpg').write_bytes(content[:-600])
    vanishing = root / 'train' / '3.jpg'
    (tmp_path / 'vanish.py').write_text(f"""
from pathlib import Path
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Vanish(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        Path({str(vanishing)!r}).unlink(missing_ok=True)
""")
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = {str(DEMO)!r}
custom_imports = dict(imports=['pspnet_plugin', 'vanish'], allow_failed_imports=False)
custom_hooks = [dict(type='BadPairsHook'), dict(type='Vanish')]
train_dataloader = dict(dataset=dict(on_bad_pair='skip'))
val_dataloader = dict(dataset=dict(on_bad_pair='skip'))
""")
    run = tmp_path / 'run'
    output = run_tool(
        ROOT / 'tools/train.py', config, '--work-dir', run,
        *on(root, 'train_cfg.max_iters=8', 'train_cfg.val_interval=8'),
        env=dict(PYTHONPATH=str(tmp_path)),
    )  # fmt: skip
    warnings = [line for line in output.splitlines() if 'WARNING' in line]
    for named in (f'{root}/train/bad.jpg', f'{root}/val/bad.jpg', '1 of 9', '1 of 4', vanishing):
        assert sum(str(named) in line for line in warnings) >= 1, named
    (score,) = [entry for entry in scalars(run) if 'mIoU' in entry]
    assert score['skipped_pairs'] == 1
