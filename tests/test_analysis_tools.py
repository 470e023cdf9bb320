"""Our own tools on a run and on a set of pairs."""

import re
import shutil

import cv2
from conftest import ROOT, run_tool

TOOLS = ROOT / 'tools' / 'analysis_tools'


def test_report_draws_pairs_and_curves(trained, tmp_path):
    """Also from a folder that was moved since the run, and from another directory."""
    moved = shutil.copytree(trained, tmp_path / 'moved')
    output = run_tool(TOOLS / 'report.py', moved, '--pairs', 2, cwd=tmp_path)
    assert f'report: {moved / "report.png"}\n' in output
    picture = cv2.imread(str(moved / 'report.png'))
    height, width = picture.shape[:2]
    assert width > 1000 and height > 500
    assert len({tuple(color) for color in picture[::5, ::5].reshape(-1, 3)}) > 500


def test_report_names_what_is_missing(tmp_path):
    output = run_tool(TOOLS / 'report.py', tmp_path / 'none', status=2)
    assert 'none: no such folder; give a work dir of train.py' in output
    output = run_tool(TOOLS / 'report.py', tmp_path, status=2)
    assert 'no config of a run' in output
    (tmp_path / 'config.py').write_text('')
    output = run_tool(TOOLS / 'report.py', tmp_path, status=2)
    assert 'no checkpoint yet' in output
    assert '--pairs 0 --dpi 100: give numbers' in run_tool(
        TOOLS / 'report.py', tmp_path, '--pairs', 0, status=2
    )


def test_report_takes_a_checkpoint_by_name(trained, tmp_path):
    """Also where the run left no pointer to its last one, and where a log line is torn."""
    moved = shutil.copytree(trained, tmp_path / 'moved')
    (moved / 'last_checkpoint').unlink()
    (log,) = moved.glob('*/vis_data/scalars.json')
    log.write_text(log.read_text() + '{"loss": 1.0, "st')
    out = tmp_path / 'one.png'
    checkpoint = moved / 'iter_1.pth'
    run_tool(TOOLS / 'report.py', moved, '--checkpoint', checkpoint, '--pairs', 1, '--out', out)
    assert out.is_file()


def test_benchmark_prints_ratios_of_one_run(demo_root):
    tool = TOOLS / 'benchmark.py'
    output = run_tool(tool, 'loader', '--data-root', demo_root, '--split', 'train', '--rounds', 2)
    ratios = {
        name: float(re.findall(rf'^{name} +[\d.]+ +([\d.]+)  \(', output, re.MULTILINE)[0])
        for name in ('imdecode', 'edge_aware, virtual files', 'nearest, stock transforms')
    }
    assert ratios['imdecode'] == 1
    assert min(ratios.values()) > 0.5, 'how fast a machine is decides no test; nonsense does'
    output = run_tool(tool, 'loader', '--data-root', demo_root / 'none', status=2)
    assert 'is missing' in output.strip().splitlines()[-1]
