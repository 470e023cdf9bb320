"""``report.py`` on trainings of all kinds: finished, moved, running, compared, without a record."""

import html
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.pairs import ROOT
from helpers.programs import load_tool, on, run_tool
from helpers.trainings import change_record

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report import bootstrap
from pspnet_plugin.toolkit.report.evaluation import ValidationSet
from pspnet_plugin.toolkit.report.page import differing_settings, run_details
from pspnet_plugin.toolkit.report.runs import open_run

TOOL = 'analysis_tools/report.py'


@pytest.fixture
def tool():
    return load_tool(TOOL)


@pytest.fixture
def report(tool):
    """Runs the tool with one example each, and returns its exit status."""
    return lambda *arguments: tool.main([*map(str, arguments), '--pictures', '1'])


def config_of(run: Path) -> Path:
    (path,) = run.glob('*/vis_data/config.py')
    return path


def test_moved_run(trained, tmp_path):
    moved = shutil.copytree(trained, tmp_path / 'a <b>bold</b> name')
    output = run_tool(ROOT / 'tools' / TOOL, moved, '--pictures', 1, cwd=tmp_path)
    assert f'{moved / "report.html"}\n' in output
    page = (moved / 'report.html').read_text()
    assert '<b>bold</b>' not in page and 'a &lt;b&gt;bold&lt;/b&gt; name' in page
    sources = re.findall(r'(?:src|href)="([^"]{5})', page)
    assert len(sources) == 5 and set(sources) == {'data:'}
    assert 'url(' not in page and '<script' not in page
    figures = {path.stem: cv2.imread(str(path)) for path in (moved / 'report').iterdir()}
    assert sorted(figures) == ['classes', 'confusion', 'curves', 'pictures', 'weakest']
    for name, image in figures.items():
        assert image.shape[1] > 800 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20, name
    record = json.loads((trained / RECORD).read_text())
    part, details = record['parts'][-1], run_details(open_run(moved))
    assert details['seed'] == '0' and details['commit'] == part['commit'] != ''
    assert part['processor'] in details['hardware'] and part['torch'] in details['versions']
    minutes = f'{part["seconds"] / 60:.1f} minutes'
    assert details['time'].startswith(minutes)
    assert re.search(rf'<b>2 steps</b>{minutes}<small>.*iter_2.pth</small>', page)
    for text in ('psp_demo.py', *details, *details.values()):
        assert html.escape(text) in page, text
    metrics = [s['metrics'] for s in record['scores'] if s['decode']['rule'] == 'nearest'][-1]
    for key, name in dict(mIoU='mIoU', aAcc='pixel accuracy', mDice='mean Dice').items():
        assert re.search(rf'<b>{metrics[key]:.1f}( %)?</b>{name}<', page), key


@pytest.mark.browser
def test_page_opens_offline_and_on_a_phone(browser, report, trained, tmp_path):
    out = tmp_path / 'report.html'
    assert report(trained, '--out', out) == 0
    for width in (390, 1280):
        context = browser.new_context(viewport=dict(width=width, height=800), offline=True)
        page = context.new_page()
        page.goto(out.as_uri())
        assert page.evaluate('document.documentElement.scrollWidth') == width
        assert min(page.evaluate('[...document.images].map(i => i.naturalWidth)')) > 800
        heights = page.evaluate('[...document.querySelectorAll("tr")].map(r => r.offsetHeight)')
        assert len(heights) > 10 and max(heights) < 150  # no column of single letters
        context.close()


def test_scores_match_the_validation(tool, trained):
    run = open_run(trained)
    images = ValidationSet(run.config)
    (network,), evaluations = tool.evaluate_runs(dict(run=run), images, device='cpu', batch=1)
    evaluation = evaluations['run']
    last = next(s for s in reversed(run.scores) if s['decode'] == images.decode)['metrics']
    found = {key: evaluation.scores[key] for key in ('mIoU', 'aAcc', 'mDice')}
    found['coverage'] = evaluation.coverage
    for name, value in zip(images.classes, evaluation.scores['IoU'], strict=True):
        found[f'IoU.{name}'] = value
    expected = {key: last[key] for key in found}
    assert found == pytest.approx(expected, abs=0.006, nan_ok=True)
    assert evaluation.names == ['1.jpg', '2.jpg', '3.jpg']
    row = tool.make_row('caption', images, 2, [network])
    known = row.truth != 255
    correct = (row.predictions[0][known] == row.truth[known]).sum()
    assert evaluation.areas[2, 0].sum() == correct


def test_examples_of_weak_classes_show_their_errors(tool, report, trained, monkeypatch):
    found = {}
    monkeypatch.setattr(tool, 'write_report', lambda out, **given: found.update(given))
    assert report(trained) == 0
    assert found['weak_examples'] and {row.label for row in found['examples']} == {None}
    for row in found['weak_examples']:
        assert row.caption.startswith(f'{found["images"].classes[row.label]}: ')
        assert ((row.truth == row.label) & (row.predictions[0] != row.label)).any()


def test_runs_are_compared(report, trained, trained_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, 'MIN_IMAGES', 2)  # the set has three images
    # The weakest classes of two steps are never right, so their ranges would be empty.
    monkeypatch.setattr(bootstrap, 'format_range', lambda bounds: f'42.1 to 4{len(bounds)}.9')
    config = config_of(trained_copy)
    changed = "model['backbone']['init_cfg'] = dict(type='Kaiming', layer='Conv2d')\n"
    config.write_text(config.read_text().replace('seed=0', 'seed=7') + changed)
    out = tmp_path / 'compared.html'
    weights = ['--checkpoint', trained / 'iter_2.pth', trained_copy / 'iter_1.pth']
    assert report(trained, trained_copy, '--out', out, *weights) == 0
    page = ' '.join(out.read_text().split())
    assert '<code>randomness.seed</code></td><td><code>0</code></td><td><code>7</code>' in page
    assert 'model.backbone.init_cfg.type' in page
    assert page.count('class="tiles"') == 2
    assert len(re.findall(r'<p><b>(psp_demo|copy)</b></p> <div class="scroll">', page)) == 2
    assert (tmp_path / 'compared/confusion-2.png').is_file()
    one, two = (cv2.imread(str(tmp_path / f'compared/{key}.png')) for key in ('curves', 'pictures'))
    assert two.shape[1] > one.shape[1]  # six columns
    for name in ('mIoU', 'pixel accuracy'):
        assert page.count(f'</b>{name}<small>42.1 to 42.9</small></div>') == 2, name
    assert len(re.findall(r'\d+\.\d<br><small>42.1 to 42.9</small></td>', page)) == 3 * 2
    for value in ('1,000', '3 images', '95 %', '100 images'):
        assert value in page


def test_running_training_without_weights(report, trained, trained_copy, tmp_path, capsys):
    (trained_copy / 'last_checkpoint').unlink()
    change_record(trained_copy, lambda record: record['parts'][-1].update(ended=False))
    assert report(trained_copy) == 0
    assert str(trained_copy) in capsys.readouterr().err
    assert (trained_copy / 'report.html').read_text().count('class="note"') == 2
    assert [path.name for path in (trained_copy / 'report').iterdir()] == ['curves.png']
    out = tmp_path / 'compared.html'
    assert report(trained_copy, trained, '--out', out) == 0
    page = out.read_text()
    assert page.count('class="tiles"') == 1
    assert re.findall(r'class="note">(\w+)', page) == ['copy', 'copy']


def test_run_without_a_record(report, trained_copy):
    (trained_copy / RECORD).unlink()
    assert report(trained_copy) == 0
    page = (trained_copy / 'report.html').read_text()
    assert ' steps</b>' not in page and 'RunRecordHook' in page and 'class="note"' not in page


def test_later_test_with_augmentation_changes_nothing(report, trained_copy, demo_root):
    before = open_run(trained_copy)
    config, weights = trained_copy / 'psp_demo.py', trained_copy / 'iter_2.pth'
    options = ['--tta', '--work-dir', trained_copy, *on(demo_root)]
    run_tool(ROOT / 'tools/test.py', config, weights, *options)
    assert 'TestTimeAug' in config.read_text(), 'the config was not overwritten'
    after = open_run(trained_copy)
    assert differing_settings([before.config, after.config]) == []
    assert after.config_name == 'psp_demo.py' and after.minutes == before.minutes
    assert report(trained_copy) == 0


def test_bad_arguments_are_named(tool, trained, trained_copy, tmp_path, capsys):
    folder = tmp_path / 'folder'
    folder.mkdir()
    fewer = "val_dataloader['dataset']['metainfo'] = dict(classes=('road',))\n"
    with config_of(trained_copy).open('a') as file:
        file.write(fewer)
    for arguments, named in (
        ([tmp_path / 'none'], str(tmp_path / 'none')),
        ([folder], str(folder)),  # no config
        ([trained, '--pictures', 0], '--pictures 0'),
        ([trained, '--checkpoint', 'no.pth'], 'no.pth'),
        ([trained, trained, '--checkpoint', trained / 'iter_1.pth'], '--checkpoint: 1'),
        ([trained, '--out', folder / 'report'], '.html'),
        ([trained, '--cfg-options', 'val_dataloader.dataset.data_root=nowhere'], 'nowhere'),
        ([trained_copy], str(trained_copy)),
    ):
        assert tool.main([*map(str, arguments)]) == 2
        assert named in capsys.readouterr().err


def test_unusable_configs_are_named(tool, tmp_path, capsys):
    for content, named in (
        ('model = dict()', 'decode_head'),
        ('model = dict(decode_head=dict())', 'val_dataloader'),
        ('1 +', 'config.py'),
    ):
        (tmp_path / 'config.py').write_text(content)
        assert tool.main([str(tmp_path)]) == 2
        assert named in capsys.readouterr().err
    (tmp_path / 'other.py').touch()
    assert tool.main([str(tmp_path)]) == 2
    assert 'config.py, other.py' in capsys.readouterr().err
