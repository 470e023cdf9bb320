"""Reports on trainings of all kinds: running, resumed, compared, without a record."""

import json
import re
import shutil
from pathlib import Path

import cv2
import pytest
from helpers.pairs import ROOT
from helpers.programs import load_tool, on, run_tool

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.page import differing
from pspnet_plugin.toolkit.report.work_dirs import open_run

TOOL = 'analysis_tools/report.py'


def config_of(run: Path) -> Path:
    (path,) = run.glob('*/vis_data/config.py')
    return path


def begun_like(trained: Path, folder: Path) -> Path:
    """A run that has not ended, and has no weights yet."""
    shutil.copytree(trained, folder)
    (folder / 'last_checkpoint').unlink()
    record = json.loads((folder / RECORD).read_text())
    record['parts'][-1]['ended'] = False
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_runs_are_compared(trained, tmp_path):
    other = shutil.copytree(trained, tmp_path / 'other')
    config = config_of(other)
    text = config.read_text().replace('seed=0', 'seed=7')
    config.write_text(
        text + "model['backbone']['init_cfg'] = dict(type='Kaiming', layer='Conv2d')\n"
    )
    out = tmp_path / 'compared.html'
    tool = load_tool(TOOL)
    weights = [str(trained / 'iter_2.pth'), str(other / 'iter_1.pth')]
    arguments = [str(trained), str(other), '--out', str(out), '--pictures', '1']
    assert tool.main([*arguments, '--checkpoint', *weights]) == 0
    page = out.read_text()
    assert '<code>randomness.seed</code></td><td><code>0</code></td><td><code>7</code>' in page
    assert 'model.backbone.init_cfg.type' in page
    assert page.count('class="tiles"') == 2
    assert len(re.findall(r'<p><b>(psp_demo|other)</b></p>\s*<div class="scroll">', page)) == 2
    assert page.count('<th>mostly taken for</th>') == 2 and '2 steps</b>' in page
    assert 'For each of the weakest classes of ' in page
    assert (tmp_path / 'compared' / 'confusion-2.png').is_file()
    one, two = (cv2.imread(str(tmp_path / 'compared' / f'{k}.png')) for k in ('curves', 'pictures'))
    assert two.shape[1] > one.shape[1]  # six columns


def test_a_running_training_without_weights_has_its_curves(trained, tmp_path, capsys):
    running = begun_like(trained, tmp_path / 'running')
    (log,) = running.glob('*/vis_data/scalars.json')
    log.write_text(log.read_text() + '{"loss": 1.0, "st')  # torn
    assert load_tool(TOOL).main([str(running)]) == 0
    assert 'no checkpoint yet' in capsys.readouterr().err
    page = (running / 'report.html').read_text()
    assert 'no weights yet' in page and 'has not come to its end' in page
    assert [path.name for path in (running / 'report').iterdir()] == ['curves.png']


def test_a_finished_run_beside_one_that_has_begun(trained, tmp_path, capsys):
    begun = begun_like(trained, tmp_path / 'begun')
    out = tmp_path / 'compared.html'
    assert load_tool(TOOL).main([str(begun), str(trained), '--out', str(out)]) == 0
    assert f'{begun}: no checkpoint yet' in capsys.readouterr().err
    page = out.read_text()
    assert page.count('class="tiles"') == 1
    assert 'begun has no weights yet' in page and 'begun has not come to its end' in page
    assert 'psp_demo has no' not in page and page.count('>mostly taken for<') == 1


def test_a_run_without_a_record_says_so(trained, tmp_path):
    moved = shutil.copytree(trained, tmp_path / 'moved')
    (moved / RECORD).unlink()
    assert load_tool(TOOL).main([str(moved), '--pictures', '1']) == 0
    page = (moved / 'report.html').read_text()
    assert ' steps</b>' not in page
    assert 'unknown: the config has no' in page and 'has not come to its end' not in page


def test_a_later_test_with_augmentation_changes_nothing(trained, demo_root, tmp_path):
    run = shutil.copytree(trained, tmp_path / 'run')
    before = open_run(run)
    options = ['--tta', '--work-dir', run, *on(demo_root)]
    run_tool(ROOT / 'tools/test.py', run / 'psp_demo.py', run / 'iter_2.pth', *options)
    assert 'TestTimeAug' in (run / 'psp_demo.py').read_text(), 'the trap is there'
    after = open_run(run)
    assert differing([before.config, after.config]) == []
    assert after.config_name == 'psp_demo.py' and after.minutes == before.minutes
    assert load_tool(TOOL).main([str(run), '--pictures', '1']) == 0


def test_a_folder_that_was_trained_in_twice_is_reported_on_once(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / 'run')
    record = json.loads((run / RECORD).read_text())
    later = {
        **record['parts'][0], 'started': '2999-01-01T00:00:00+00:00', 'seconds': 60,
        'log': '29990101_000000',
    }  # fmt: skip
    record['parts'].append(later)
    (run / RECORD).write_text(json.dumps(record))
    found = open_run(run)
    assert found.minutes == 1 and found.scalars('loss') == ([], [])
    later['first_iteration'] = 1  # resumed
    (run / RECORD).write_text(json.dumps(record))
    found = open_run(run)
    assert found.minutes > 1 and found.scalars('loss')[0] == [1, 2]


def test_settings_that_differ(trained):
    one, two = open_run(trained).config, open_run(trained).config
    assert differing([one, two]) == []
    two.train_pipeline[2].prob = 0.25
    two.extra = 'new'
    found = dict(differing([one, two]))
    assert found == {'extra': ['', "'new'"], 'train_pipeline.2.prob': ['0.5', '0.25']}


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"parts": [', '{"parts": {}, "scores": []}'])
def test_a_record_that_is_none_is_named(content, trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / 'run')
    (run / RECORD).write_text(content)
    assert load_tool(TOOL).main([str(run)]) == 2
    assert f'{run / RECORD} is no record of a run' in capsys.readouterr().err
