"""Our own tools on a run and on a set of pairs."""

import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import ROOT, load_tool, run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from pspnet_plugin.datasets import LabelCodec

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


def test_report_finds_the_worst(trained, demo_root, tmp_path):
    tool = load_tool('analysis_tools/report.py')
    config = Config.fromfile(trained / 'psp_demo.py')
    init_default_scope('mmseg')
    rows, _ = tool.predict(config, str(trained / 'iter_2.pth'), 2, worst=True)
    every, _ = tool.predict(config, str(trained / 'iter_2.pth'), 3, worst=False)
    scores = sorted(tool.mean_iou(row) for row in every)
    assert [tool.mean_iou(row) for row in rows] == scores[:2] and scores[0] < scores[2]
    assert f'mIoU {100 * scores[0]:.0f}' in rows[0]['name']
    half = np.zeros((2, 4), np.uint8)
    half[1] = 3
    truth = np.array([[0, 0, 0, 255], [3, 3, 0, 0]], np.uint8)
    # Class 0: 3 of 5 pixels, class 3: 2 of 4.
    assert tool.mean_iou(dict(prediction=half, truth=truth)) == pytest.approx((3 / 5 + 2 / 4) / 2)


def test_report_names_what_is_missing(tmp_path, capsys):
    report = load_tool('analysis_tools/report.py').main

    def said(*arguments) -> str:
        assert report([str(argument) for argument in arguments]) == 2
        return capsys.readouterr().err

    assert 'none: no such folder; give a work dir of train.py' in said(tmp_path / 'none')
    assert 'no config of a run' in said(tmp_path)
    (tmp_path / 'config.py').write_text('')
    assert 'no checkpoint yet' in said(tmp_path)
    assert '--pairs 0 --dpi 100: give numbers' in said(tmp_path, '--pairs', 0)


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


def test_compare_label_rules_reports_what_decoding_gives(tmp_path, capsys):
    tool = load_tool('analysis_tools/compare_label_rules.py')
    out = tmp_path / 'figures.json'
    assert tool.main(['--scenes', '1', '--kinds', 'plan', '--json', str(out)]) == 0
    printed = capsys.readouterr().out
    found = {(f['quality'], f['kind'], f['rule']): f for f in json.loads(out.read_text())}
    assert len(found) == 2 * 2 * len(tool.RULES)
    for (_, kind, rule), figures in found.items():
        cells = f'{figures["coverage"]:.4f} | {figures["accuracy"]:.4f}'
        assert kind == 'plan' or f'| {rule} | {cells} |' in printed
    scene = tool.SCENES['plan'](np.random.default_rng([tool.SEED, 0]))
    truth = tool.largest_share(scene.labels, (tool.SIZE, tool.SIZE))
    right = kept = 0
    for resample in tool.SHRINKS.values():
        picture = tool.render(scene, resample=resample, quality=95)
        labels = LabelCodec(scene.palette, min_explained=0).decode(picture)
        right += ((labels == truth) & (labels != 255)).sum()
        kept += (labels != 255).sum()
    assert found[95, 'all', 'edge_aware, 0.8']['accuracy'] == right / kept


def test_tally_counts_by_the_definitions():
    tool = load_tool('analysis_tools/compare_label_rules.py')
    truth = np.array([[0, 0, 1, 1], [2, 255, 255, 2]], np.uint8)
    found = np.array([[0, 255, 1, 0], [3, 3, 255, 2]], np.uint8)
    tally = tool.Tally()
    tally.add(found, truth, (1,))
    assert tally.figures() == dict(coverage=5 / 6, accuracy=3 / 5, phantom=2 / 8, thin_iou=1 / 2)
