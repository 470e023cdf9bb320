"""``benchmarks/gpu.sh``, which is for a GPU, with tiny sizes on the CPU."""

import os
import subprocess
import sys

from helpers.pairs import ROOT

from benchmarks.results_page import render


def test_its_files_become_tables_of_the_page(demo_root, tmp_path):
    env = {**os.environ, 'DEVICE': 'cpu', 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': ''}
    command = [ROOT / 'benchmarks/gpu.sh', demo_root, tmp_path / 'gpu']
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in (tmp_path / 'gpu').iterdir()} == {
        'heads_float32', 'heads_bfloat16', 'networks', 'training',
    }  # fmt: skip
    page = render('{{ on_gpu() }}', [], gpu=tmp_path / 'gpu')
    for name in (
        '`heads_bfloat16`',
        '`training`',
        '| configs/psp_small_cityscapes_pairs.py |',
        '| stock head |',
    ):
        assert name in page
