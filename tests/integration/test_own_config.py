"""``make_pairs.py folders --config``: from photos and label maps to a training in two commands."""

import re
import shutil

import cv2
import numpy as np
import pytest
from helpers.label_files import maps, save, write_photos
from helpers.pairs import META, ROOT, photo
from helpers.programs import run_tool
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from pspnet_plugin.engine.loops.data_check import check_classes
from pspnet_plugin.toolkit.conversion.config_writer import class_weights
from pspnet_plugin.toolkit.conversion.label_maps import plain_legend, with_void

SPLIT = maps(3)


@pytest.fixture
def project(tmp_path, palette, monkeypatch):
    """A folder like a checkout."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_maps(folder, labels) -> None:
    for name, values in labels.items():
        save(folder / f'{name}.png', values)


def built(path) -> Config:
    config = Config.fromfile(path)
    for part in ('train', 'val', 'test'):
        config[f'{part}_dataset'] = DATASETS.build(config[f'{part}_dataloader'].dataset)
    return config


def pictures(config: Config) -> list[set[str]]:
    """Of the training, and of the validation."""
    parts = config.train_dataset, config.val_dataset
    return [{part.get_data_info(i)['img_path'] for i in range(len(part))} for part in parts]


def arguments(palette, *more) -> list:
    return ['folders', 'photos', 'labels', 'data/own', '--palette', palette, *more]


@pytest.mark.slow
def test_two_commands_train_on_photos_and_label_maps(project, palette, make):
    write_photos(project / 'photos', SPLIT)
    write_maps(project / 'labels', SPLIT)
    said = make(*arguments(palette, '--config', 'configs/own.py'))
    assert 'python tools/train.py configs/own.py' in said
    options = ['train_cfg.minutes=0.3', 'train_cfg.reserve=3', 'train_dataloader.batch_size=2']
    output = run_tool(
        ROOT / 'tools/train.py', 'configs/own.py', '--cfg-options', *options, cwd=project
    )
    assert re.search(r'mIoU: [\d.]+', output) and 'are trained on too' not in output


def test_folders_of_splits_are_kept(project, palette, make):
    write_photos(project / 'photos', SPLIT)
    write_maps(project / 'labels', SPLIT)
    make(*arguments(palette, '--config', 'configs/own.py'))
    config = built('configs/own.py')
    names, held = pictures(config)
    assert len(names) + len(held) == len(SPLIT)
    assert held and all('/val/' in name for name in held) and not names & held
    assert config.val_dataset.metainfo['classes'] == META['classes']
    model = MODELS.build(config.model)
    check_classes(model, META['classes'])
    assert config.train_cfg.type == 'ClockTrainLoop' and config.train_cfg.reserve < 30
    sample = config.train_dataset[0]
    assert sample['inputs'].shape[-2:] == (192, 192)


def test_one_folder_has_every_tenth_held_out(project, palette, make):
    labels = {f'{i}': list(SPLIT.values())[i % 3] for i in range(12)}
    write_photos(project / 'photos', labels)
    write_maps(project / 'labels', labels)
    make(*arguments(palette, '--config', 'configs/own.py'))
    config = built('configs/own.py')
    names, held = pictures(config)
    assert (len(names), len(held)) == (11, 1) and not names & held
    assert 'Every tenth pair is held out' in (project / 'configs/own.py').read_text()


def test_large_photos_become_pairs_as_large_as_the_config_trains_on(project, palette, make):
    labels = np.zeros((900, 1200), np.uint8)
    labels[:300] = 1
    for i in range(2):
        save(project / f'labels/{i}.png', labels)
        (project / 'photos').mkdir(exist_ok=True)
        cv2.imwrite(str(project / f'photos/{i}.jpg'), photo(900, 1200, seed=i))
    make(*arguments(palette, '--config', 'configs/own.py'))
    config = built('configs/own.py')
    assert [len(found) for found in pictures(config)] == [1, 1]
    sample = config.test_dataset[0]
    assert sample['inputs'].shape[-2:] == sample['data_samples'].gt_sem_seg.shape == (384, 512)
    found = sample['data_samples'].gt_sem_seg.data[0].numpy()
    assert (found[:120] == 1).all() and (found[136:] == 0).all()
    said = make(*arguments(palette, '--max-side', '64', '--size', '9'), status=2)
    assert '--max-side 64 and --size: give one of them' in said


def test_a_config_that_was_changed_by_hand_stays(project, palette, make):
    write_photos(project / 'photos', SPLIT)
    write_maps(project / 'labels', SPLIT)
    own = project / 'configs/own.py'
    make(*arguments(palette, '--config', 'configs/own.py'))
    own.write_text(changed := own.read_text().replace('interval=100', 'interval=50'))
    said = make(*arguments(palette, '--config', 'configs/own.py'))
    assert 'was changed by hand, and stays; of these pairs it would have' in said
    assert '  default_hooks = dict(checkpoint=dict(interval=100))' in said
    assert own.read_text() == changed
    said = make(*arguments(palette, '--config', 'nowhere/own.py'), status=2)
    assert '--config nowhere/own.py: expected a name ending in .py, in a folder that' in said


def test_a_config_follows_pairs_that_are_added(project, palette, make):
    labels = {f'{i}': list(SPLIT.values())[i % 3] for i in range(30)}
    few = dict(list(labels.items())[:3])
    for part in (few, labels):
        write_photos(project / 'photos', part)
        write_maps(project / 'labels', part)
        said = make(*arguments(palette, '--config', 'configs/own.py'))
        names, held = pictures(built('configs/own.py'))
        assert len(names) + len(held) == len(part) and held
        assert f'held out, to be scored on: {len(held)} of {len(part)} pairs, every tenth' in said


def test_no_config_is_written_where_a_split_has_no_pairs(project, palette, make):
    write_photos(project / 'photos', SPLIT)
    write_maps(project / 'labels', {k: v for k, v in SPLIT.items() if k.startswith('train/')})
    said = make(*arguments(palette, '--config', 'configs/own.py'), status=2)
    assert 'holds no pair in val' in said and 'photos without a label map: 1' in said
    assert not (project / 'configs/own.py').exists()


def test_names_are_text_in_a_config(project, palette, make):
    write_photos(project / 'photos', SPLIT)
    write_maps(project / 'labels', SPLIT)
    for out in ("it's", 'x\', k=__import__("os").mkdir("pwned"), m=\'', 'new\nline', 'back\\new'):
        make(*arguments(palette, '--config', 'configs/own.py')[:3], out,
             *arguments(palette, '--config', 'configs/own.py')[4:])  # fmt: skip
        config = built('configs/own.py')
        assert config.pairs.data_root == out and len(config.val_dataset) == 1
        assert not (project / 'pwned').exists()
    said = make(*arguments(palette)[:3], 'a{{b', *arguments(palette)[4:], '--config',
                'configs/no.py', status=2)  # fmt: skip
    assert 'a{{b: {{ has a meaning in configs' in said


def test_one_class_alone_is_refused(project, palette, make):
    palette.write_text('{"classes": ["wall"], "palette": [[200, 0, 0]]}')
    labels = {name: np.zeros_like(values) for name, values in SPLIT.items()}
    write_photos(project / 'photos', labels)
    write_maps(project / 'labels', labels)
    said = make(*arguments(palette, '--config', 'configs/own.py'), status=2)
    assert 'there is one class alone' in said and 'such as background' in said


def test_one_pair_cannot_be_held_out(project, palette, make):
    labels = {'one': SPLIT['train/0']}
    write_photos(project / 'photos', labels)
    write_maps(project / 'labels', labels)
    said = make(*arguments(palette, '--config', 'configs/own.py'), status=2)
    assert 'data/own holds 1 pairs; a config needs 2, to hold one out' in said


def test_weights_of_classes(tmp_path):
    legend = plain_legend(with_void(META))
    labels = np.zeros((10, 10), np.uint8)
    labels[0] = 1
    labels[1] = 255
    save(tmp_path / 'a.png', labels)
    (tmp_path / 'b.png').write_bytes(b'no picture')
    weights = class_weights([tmp_path / 'a.png', tmp_path / 'b.png'], legend)
    shares = np.array([80, 10]) / 90
    assert weights[1] / weights[0] == pytest.approx((80 / 10) ** 0.3, rel=0.02)
    assert weights[2] == weights[1], 'not met: as the rarest'
    assert np.dot(weights[:2], shares) == pytest.approx(1, abs=0.01)
    assert class_weights([tmp_path / 'b.png'], legend) == [1, 1, 1]
