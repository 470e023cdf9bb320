"""Training of several configs, for a minute each: pairs a second, and the wait for the loader."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.tables import print_rows
from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.arguments import add_cfg_options

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = {
    'config': '{config}', 'steps': '{steps}', 'pairs a step': '{batch}',
    'pairs a second': '{pairs:.1f}', 'share of waiting for data': '{waiting:.2f}',
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add('configs', metavar='CONFIG', nargs='+', help='to train')
    add('--minutes', type=float, default=1, help='of each training, from its start (1)')
    add_cfg_options(parser)


def measure(args: argparse.Namespace) -> list[dict]:
    """Train each config in turn, and print a table."""
    rows = [_train(config, args) for config in args.configs]
    print_rows(rows, COLUMNS)
    return rows


def _train(config: str, args: argparse.Namespace) -> dict:
    """Train for so many minutes without validation; the first half of the steps warms up."""
    options: dict = dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator'))
    options |= {
        'train_cfg.type': 'ClockTrainLoop', 'train_cfg.minutes': args.minutes,
        'train_cfg.reserve': 1, 'default_hooks.logger.interval': 1,
    }  # fmt: skip
    options |= args.cfg_options or {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / 'tools/train.py'), config, '--work-dir', folder]
        command += ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f'{config} does not train: {done.stderr.strip()[-500:]}')
        part = json.loads(Path(folder, RECORD).read_text())['parts'][-1]
        (log,) = Path(folder).glob('*/vis_data/scalars.json')
        steps = [json.loads(line) for line in log.read_text().splitlines()]
    late = [step for step in steps if 'data_time' in step][len(steps) // 2 :]
    if not late:
        raise ValueError(f'{config} made no step in {args.minutes:g} minutes; give more --minutes')
    seconds = median(step['time'] for step in late)
    waiting = median(step['data_time'] for step in late)
    return dict(
        config=config, steps=part['last_iteration'], batch=part['batch_size'],
        pairs=part['batch_size'] / seconds, waiting=waiting / seconds,
    )  # fmt: skip
