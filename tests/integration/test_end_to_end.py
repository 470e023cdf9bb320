"""The whole way once, on one tiny run: pairs, training, kill, resume, test, predictions, export."""

import json
from pathlib import Path

import cv2
import numpy as np
from helpers.programs import DEMO, ROOT, on, run_tool
from helpers.trainings import finish, kill_at, start

ITERATIONS = 6
TOOLS = ROOT / 'tools'


def test_from_pairs_to_an_exported_network(demo_root, tmp_path):
    work_dir = tmp_path / 'run'
    options = on(demo_root, f'train_cfg.max_iters={ITERATIONS}')
    kill_at(start(DEMO, work_dir, *options), work_dir, 'Saving checkpoint at 3 ')
    assert not (work_dir / f'iter_{ITERATIONS}.pth').exists()
    finish(DEMO, work_dir, *options)
    checkpoint = Path((work_dir / 'last_checkpoint').read_text())
    assert checkpoint.name == f'iter_{ITERATIONS}.pth' and checkpoint.is_file()
    parts = json.loads((work_dir / 'run_record.json').read_text())['parts']
    assert [part.get('ended', False) for part in parts] == [False, True]
    assert parts[1]['first_iteration'] >= 1

    config = work_dir / 'psp_demo.py'
    run_tool(TOOLS / 'test.py', config, checkpoint, '--work-dir', tmp_path / 'tested')
    scores = json.loads((tmp_path / 'tested/run_record.json').read_text())['scores']
    tested = next(score for score in scores if score['loop'] == 'test')

    pairs = demo_root / 'val'
    names = sorted(path.stem for path in pairs.iterdir())
    assert names
    network = ['--config', config, '--checkpoint', checkpoint]
    run_tool(TOOLS / 'predict.py', pairs, '--pairs', *network, '--out', tmp_path / 'predicted')
    predicted = json.loads((tmp_path / 'predicted/scores.json').read_text())
    assert abs(predicted['mIoU'] - tested['metrics']['mIoU']) < 0.01

    exported = tmp_path / 'demo.onnx'
    run_tool(TOOLS / 'deployment/export_onnx.py', config, checkpoint, exported, '--dynamic')
    options = ['--config', config, '--onnx', exported, '--out', tmp_path / 'by_onnx']
    run_tool(TOOLS / 'predict.py', pairs, '--pairs', *options, '--save', 'index', 'overlay')
    for name in names:
        labels, by_onnx = (
            cv2.imread(str(tmp_path / folder / f'index/{name}.png'), cv2.IMREAD_UNCHANGED)
            for folder in ('predicted', 'by_onnx')
        )
        assert np.mean(labels == by_onnx) > 0.999
        assert (tmp_path / f'by_onnx/overlay/{name}.jpg').is_file()
