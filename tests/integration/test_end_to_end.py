"""The whole way once, on one tiny run: pairs, training, kill, resume, test, predictions, export."""

import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
from helpers.programs import ROOT, on, run_tool
from helpers.warm_processes import start_warm

ITERATIONS = 6
TOOLS = ROOT / 'tools'


def train(work_dir: Path, pairs: Path, *, kill_after: str = '') -> str:
    """Train ``psp_demo.py`` for a few steps; return the log, up to the kill if there is one."""
    log = work_dir.with_suffix('.log')
    options = on(pairs, f'train_cfg.max_iters={ITERATIONS}', 'default_hooks.checkpoint.interval=1')
    command = [TOOLS / 'train.py', 'configs/psp_demo.py', '--work-dir', work_dir, '--resume']
    process = start_warm(
        [str(word) for word in (*command, *options)],
        cwd=work_dir.parent,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
        stdout=log,
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if kill_after and (work_dir / kill_after).exists():
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    status = process.wait(timeout=60)
    assert status == (-signal.SIGKILL if kill_after else 0), log.read_text()[-4000:]
    return log.read_text()


def test_from_pairs_to_an_exported_network(demo_root, tmp_path):
    work_dir = tmp_path / 'run'
    train(work_dir, demo_root, kill_after='iter_2.pth')
    assert not (work_dir / f'iter_{ITERATIONS}.pth').exists()
    train(work_dir, demo_root)
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
