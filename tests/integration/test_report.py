"""``report.py`` on trainings of all kinds: finished, moved, running, compared, without a record."""

import html
import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.pairs import ROOT
from helpers.programs import load_tool, on, run_tool

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
def copy(trained, tmp_path) -> Path:
    """Copy of the training, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / 'copy'))


def config_of(run: Path) -> Path:
    (path,) = run.glob('*/vis_data/config.py')
    return path


def change_record(run: Path, change) -> None:
    record = json.loads((run / RECORD).read_text())
    change(record)
    (run / RECORD).write_text(json.dumps(record))


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
        assert image.shape[1] > 800, name
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20, name
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
@pytest.mark.parametrize('width', [390, 1280])
def test_page_opens_offline_and_on_a_phone(browser, tool, trained, tmp_path, width):
    out = tmp_path / 'report.html'
    assert tool.main([str(trained), '--pictures', '1', '--out', str(out)]) == 0
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
    for key in ('mIoU', 'aAcc', 'mDice'):
        assert evaluation.scores[key] == pytest.approx(last[key], abs=0.006), key
    assert evaluation.coverage == pytest.approx(last['coverage'], abs=0.006)
    for name, value in zip(images.classes, evaluation.scores['IoU'], strict=True):
        assert value == pytest.approx(last[f'IoU.{name}'], abs=0.006, nan_ok=True), name
    assert evaluation.names == ['1.jpg', '2.jpg', '3.jpg']
    row = tool.make_row('caption', images, 2, [network])
    known = row.truth != 255
    correct = (row.predictions[0][known] == row.truth[known]).sum()
    assert evaluation.areas[2, 0].sum() == correct


def test_examples_of_weak_classes_show_their_errors(tool, trained, monkeypatch):
    found = {}
    monkeypatch.setattr(tool, 'write_report', lambda out, **given: found.update(given))
    assert tool.main([str(trained), '--pictures', '1']) == 0
    assert found['weak_examples'] and {row.label for row in found['examples']} == {None}
    for row in found['weak_examples']:
        assert row.caption.startswith(f'{found["images"].classes[row.label]}: ')
        assert ((row.truth == row.label) & (row.predictions[0] != row.label)).any()


@pytest.mark.parametrize('count', [1, 2])
def test_page_shows_ranges(tool, trained, copy, tmp_path, monkeypatch, count):
    monkeypatch.setattr(bootstrap, 'MIN_IMAGES', 2)  # the set has three images
    # The weakest classes of two steps are never right, so their ranges would be empty.
    monkeypatch.setattr(bootstrap, 'format_range', lambda bounds: f'42.1 to 4{len(bounds)}.9')
    out = tmp_path / 'report.html'
    runs = [str(trained), str(copy)][:count]
    assert tool.main([*runs, '--pictures', '1', '--out', str(out)]) == 0
    page = ' '.join(out.read_text().split())
    for name in ('mIoU', 'pixel accuracy'):
        assert page.count(f'</b>{name}<small>42.1 to 42.9</small></div>') == count, name
    assert len(re.findall(r'\d+\.\d<br><small>42.1 to 42.9</small></td>', page)) == 3 * count
    assert '1,000 times, 3 images' in page and '95 %' in page and ' 100 images' in page


def test_runs_are_compared(tool, trained, copy, tmp_path):
    config = config_of(copy)
    text = config.read_text().replace('seed=0', 'seed=7')
    config.write_text(
        text + "model['backbone']['init_cfg'] = dict(type='Kaiming', layer='Conv2d')\n"
    )
    out = tmp_path / 'compared.html'
    weights = [str(trained / 'iter_2.pth'), str(copy / 'iter_1.pth')]
    arguments = [str(trained), str(copy), '--out', str(out), '--pictures', '1']
    assert tool.main([*arguments, '--checkpoint', *weights]) == 0
    page = out.read_text()
    assert '<code>randomness.seed</code></td><td><code>0</code></td><td><code>7</code>' in page
    assert 'model.backbone.init_cfg.type' in page
    assert page.count('class="tiles"') == 2
    assert len(re.findall(r'<p><b>(psp_demo|copy)</b></p>\s*<div class="scroll">', page)) == 2
    assert (tmp_path / 'compared/confusion-2.png').is_file()
    one, two = (cv2.imread(str(tmp_path / 'compared' / f'{k}.png')) for k in ('curves', 'pictures'))
    assert two.shape[1] > one.shape[1]  # six columns


def test_running_training_without_weights(tool, trained, copy, tmp_path, capsys):
    (copy / 'last_checkpoint').unlink()
    change_record(copy, lambda record: record['parts'][-1].update(ended=False))
    (log,) = copy.glob('*/vis_data/scalars.json')
    log.write_text(log.read_text() + '{"loss": 1.0, "st')  # truncated
    assert tool.main([str(copy)]) == 0
    assert str(copy) in capsys.readouterr().err
    assert (copy / 'report.html').read_text().count('class="note"') == 2
    assert [path.name for path in (copy / 'report').iterdir()] == ['curves.png']
    out = tmp_path / 'compared.html'
    assert tool.main([str(copy), str(trained), '--out', str(out)]) == 0
    page = out.read_text()
    assert page.count('class="tiles"') == 1
    assert re.findall(r'class="note">(\w+)', page) == ['copy', 'copy']


def test_run_without_a_record(tool, copy):
    (copy / RECORD).unlink()
    assert tool.main([str(copy), '--pictures', '1']) == 0
    page = (copy / 'report.html').read_text()
    assert ' steps</b>' not in page and 'RunRecordHook' in page and 'class="note"' not in page


def test_later_test_with_augmentation_changes_nothing(tool, copy, demo_root):
    before = open_run(copy)
    options = ['--tta', '--work-dir', copy, *on(demo_root)]
    run_tool(ROOT / 'tools/test.py', copy / 'psp_demo.py', copy / 'iter_2.pth', *options)
    assert 'TestTimeAug' in (copy / 'psp_demo.py').read_text(), 'the config was not overwritten'
    after = open_run(copy)
    assert differing_settings([before.config, after.config]) == []
    assert after.config_name == 'psp_demo.py' and after.minutes == before.minutes
    assert tool.main([str(copy), '--pictures', '1']) == 0


def test_only_the_last_training_of_a_folder_counts(copy):
    later = dict(started='2999-01-01T00:00:00+00:00', seconds=60, log='29990101_000000')
    change_record(copy, lambda r: r['parts'].append({**r['parts'][0], **later}))
    run = open_run(copy)
    assert run.minutes == 1 and run.scalars('loss') == ([], [])
    change_record(copy, lambda r: r['parts'][-1].update(first_iteration=1))  # resumed
    run = open_run(copy)
    assert run.minutes > 1 and run.scalars('loss')[0] == [1, 2]


@pytest.mark.parametrize('named', [True, False], ids=['by name', 'by date'])
def test_logs_of_an_earlier_training_do_not_count(copy, named):
    log = copy / '20200101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(dict(step=9, loss=9.0, lr=1.0)))
    if not named:
        change_record(copy, lambda record: record['parts'][0].pop('log'))
        os.utime(log, (0, 0))
    assert open_run(copy).scalars('loss')[0] == [1, 2]


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"parts": [', '{"parts": {}, "scores": []}'])
def test_broken_record_is_named(content, copy):
    (copy / RECORD).write_text(content)
    with pytest.raises(ValueError) as error:
        _ = open_run(copy).parts
    assert str(copy / RECORD) in str(error.value)


def test_bad_arguments_are_named(tool, trained, copy, tmp_path, capsys):
    def complaint(*arguments) -> str:
        assert tool.main([str(argument) for argument in arguments]) == 2
        return capsys.readouterr().err

    assert str(tmp_path / 'none') in complaint(tmp_path / 'none')
    assert str(tmp_path) in complaint(tmp_path)  # no config
    assert '--pictures 0' in complaint(trained, '--pictures', 0)
    assert 'no.pth' in complaint(trained, '--checkpoint', 'no.pth')
    one_of_two = trained, trained, '--checkpoint', trained / 'iter_1.pth'
    assert '--checkpoint: 1' in complaint(*one_of_two)
    assert '.html' in complaint(trained, '--out', tmp_path / 'report')
    assert 'nowhere' in complaint(
        trained, '--cfg-options', 'val_dataloader.dataset.data_root=nowhere'
    )
    config = tmp_path / 'config.py'
    for content, name in (
        ('model = dict()', 'decode_head'),
        ('model = dict(decode_head=dict())', 'val_dataloader'),
        ('1 +', 'config.py'),
    ):
        config.write_text(content)
        assert name in complaint(tmp_path)
    (tmp_path / 'other.py').touch()
    assert 'config.py, other.py' in complaint(tmp_path)
    changed = config_of(copy)
    fewer = "val_dataloader['dataset']['metainfo'] = dict(classes=('road',))\n"
    changed.write_text(changed.read_text() + fewer)
    assert str(copy) in complaint(copy)
