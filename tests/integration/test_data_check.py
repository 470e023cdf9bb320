"""What is wrong between data and network is said before the first step of a training."""

import pytest
import torch
from helpers.pairs import ROOT
from helpers.programs import DEMO, load_tool, on, run_tool, scalars
from mmengine.config import Config
from mmseg.registry import MODELS

from pspnet_plugin.engine.loops.data_check import check_classes

TRAIN = ROOT / 'tools/train.py'


def test_classes_that_are_not_the_networks_end_a_training_in_a_line(demo_root, tmp_path):
    few = "train_dataloader.dataset.metainfo.classes=('road','car')"
    output = run_tool(
        TRAIN, 'configs/psp_demo.py', '--work-dir', tmp_path, *on(demo_root, few), status=1
    )
    assert 'num_classes is 19, and the data has 2 classes (road, car); set it to 2' in output
    assert 'Traceback' not in output
    assert not list(tmp_path.glob('*.pth'))


def test_one_class_alone():
    with pytest.raises(ValueError, match=r'one class alone \(wall\)'):
        check_classes(MODELS.build(Config.fromfile(DEMO).model), ['wall'])


def test_weights_for_other_classes():
    config = Config.fromfile(DEMO)
    config.model.decode_head.update(num_classes=2)
    model = MODELS.build(config.model)
    with pytest.raises(ValueError, match='class_weight has 19 values for 2 classes; give one for'):
        check_classes(model, ['road', 'car'])
    model.decode_head.loss_decode.class_weight = None
    check_classes(model, ['road', 'car'])
    model.auxiliary_head = torch.nn.ModuleList([model.decode_head])
    with pytest.raises(ValueError, match=r'auxiliary_head.num_classes is 2, .* has 3 classes \(a,'):
        model.decode_head, model.auxiliary_head[0].num_classes = torch.nn.Identity(), 2
        model.decode_head.num_classes, model.decode_head.loss_decode = 3, None
        check_classes(model, ['a', 'b', 'c'])


def test_pictures_that_are_trained_on_and_scored_are_named(demo_root, trained, tmp_path):
    same = 'val_dataloader.dataset.data_prefix.img_path=train'
    options = on(demo_root, same, 'train_cfg.max_iters=1', 'val_dataloader.dataset.indices=3')
    output = run_tool(TRAIN, 'configs/psp_demo.py', '--work-dir', tmp_path, *options)
    assert '3 of the 3 pictures of val_dataloader are trained on too' in output
    assert len([entry for entry in scalars(tmp_path) if 'loss' in entry]) == 1
    (log,) = trained.glob('*/*.log')
    assert 'are trained on too' not in log.read_text()
    assert f'python tools/analysis_tools/report.py {tmp_path}' in output


def test_nothing_is_said_of_parts_that_nobody_uses(capfd):
    said = run_tool(ROOT / 'tools/predict.py', '--help', fresh=True)
    assert said.startswith('usage:'), said[:300]
    assert load_tool('predict.py')
