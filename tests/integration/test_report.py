"""``report.py``: its figures are those of the test tool, and its page needs nothing else."""

import html
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.pairs import ROOT
from helpers.programs import load_tool, run_tool

from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.evaluation.areas import areas_of
from pspnet_plugin.toolkit.report.evaluation import Examined, LabelledSet
from pspnet_plugin.toolkit.report.figures import draw_classes, draw_confusion, percent
from pspnet_plugin.toolkit.report.page import facts, weakest
from pspnet_plugin.toolkit.report.work_dirs import open_run

TOOL = 'analysis_tools/report.py'
# Pictures by truth (rows) and prediction: all right, half right, nothing right.
CONFUSIONS = np.array(
    [
        [[90, 0, 0], [0, 10, 0], [0, 0, 0]],
        [[50, 0, 0], [20, 30, 0], [0, 0, 0]],
        [[80, 0, 0], [18, 0, 2], [0, 0, 0]],
    ]
)


def config_of(run: Path) -> Path:
    (path,) = run.glob('*/vis_data/config.py')
    return path


def examined_of(names, confusions, *, pixels) -> Examined:
    areas = np.stack([areas_of(confusion) for confusion in confusions])
    return Examined(names, confusions.sum(0), areas, pixels)


@pytest.fixture
def examined() -> Examined:
    return examined_of(['right', 'half', 'wrong'], CONFUSIONS, pixels=400)


def test_a_report_of_a_run_that_was_moved(trained, tmp_path):
    moved = shutil.copytree(trained, tmp_path / 'a <b>bold</b> name')
    output = run_tool(ROOT / 'tools' / TOOL, moved, '--pictures', 1, cwd=tmp_path)
    assert f'report: {moved / "report.html"}\n' in output
    page = (moved / 'report.html').read_text()
    assert '<b>bold</b>' not in page and 'a &lt;b&gt;bold&lt;/b&gt; name' in page
    sources = re.findall(r'(?:src|href)="([^"]{5})', page)
    assert len(sources) == 5 and set(sources) == {'data:'}
    assert 'url(' not in page and '<script' not in page
    figures = {path.stem: cv2.imread(str(path)) for path in (moved / 'report').iterdir()}
    assert sorted(figures) == ['classes', 'confusion', 'curves', 'pictures', 'weakest']
    for name, picture in figures.items():
        assert picture.shape[1] > 800, name
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20, name
    record = json.loads((trained / RECORD).read_text())
    told = facts(open_run(moved))
    part = record['parts'][-1]
    assert told['seed'] == '0' and told['commit'] == part['commit'] != ''
    assert part['processor'] in told['hardware'] and part['torch'] in told['versions']
    assert told['time'].startswith(f'{part["seconds"] / 60:.1f} minutes')
    tile = rf'<b>2 steps</b>{part["seconds"] / 60:.1f} minutes<small>scored: iter_2.pth</small>'
    assert re.search(tile, page)
    for text in ('The IoU of a class is', 'Dice is', 'that takes 10 pictures', ' of 3</td>'):
        assert text in page, text
    for text in ('Where it fails', 'psp_demo.py', 'iter_2.pth', *told, *told.values()):
        assert html.escape(text) in page, text
    metrics = [s['metrics'] for s in record['scores'] if s['decode']['rule'] == 'nearest'][-1]
    named = dict(mIoU='mIoU', aAcc='pixel accuracy', mDice='mean Dice')
    for key, words in named.items():
        assert re.search(rf'<b>{metrics[key]:.1f}( %)?</b>{words}<', page), key


@pytest.mark.browser
@pytest.mark.parametrize('width', [390, 1280])
def test_a_report_is_read_without_a_network_and_on_a_phone(browser, trained, tmp_path, width):
    out = tmp_path / 'report.html'
    assert load_tool(TOOL).main([str(trained), '--pictures', '1', '--out', str(out)]) == 0
    context = browser.new_context(viewport=dict(width=width, height=800), offline=True)
    page = context.new_page()
    page.goto(out.as_uri())
    assert page.evaluate('document.documentElement.scrollWidth') == width
    assert min(page.evaluate('[...document.images].map(i => i.naturalWidth)')) > 800
    heights = page.evaluate('[...document.querySelectorAll("tr")].map(r => r.offsetHeight)')
    assert len(heights) > 10 and max(heights) < 150  # no column of single letters
    context.close()


def test_its_scores_are_those_of_the_validation(trained):
    tool = load_tool(TOOL)
    run = open_run(trained)
    pictures = LabelledSet(run.config)
    args = tool.parse_args([str(trained), '--device', 'cpu', '--batch', '1'])
    (network,), examined = tool._examine(dict(run=run), pictures, args)
    found = examined['run']
    last = next(s for s in reversed(run.record['scores']) if s['decode'] == pictures.decode | {})
    for key, value in found.scores.items():
        assert value == pytest.approx(last['metrics'][key], abs=0.006), key
    assert found.coverage == pytest.approx(last['metrics']['coverage'], abs=0.006)
    for name, value in zip(pictures.classes, found.iou, strict=True):
        assert value == pytest.approx(last['metrics'][f'IoU.{name}'], abs=0.006, nan_ok=True), name
    assert found.names == ['1.jpg', '2.jpg', '3.jpg']
    shown = tool.show('worst', 2, pictures, [network], found)
    labels, truth = shown.predictions[0], shown.picture.truth
    known = truth != 255
    assert found.areas[2, 0].sum() == (labels[known] == truth[known]).sum()
    assert shown.caption == f'worst 3.jpg, mIoU {found.picture_iou(2):.0f}' and shown.label is None
    label = int(found.areas[2, 3].argmax())
    shown = tool.show('road:', 2, pictures, [network], found, label=label)
    inter, union, *_ = found.areas[2, :, label]
    assert (shown.caption, shown.label) == (f'road: 3.jpg, IoU {100 * inter / union:.0f}', label)


def test_scores_of_counts(examined):
    assert examined.iou[:2] == pytest.approx([100 * 220 / 258, 100 * 40 / 80])
    assert examined.iou[2] == 0  # named twice, never there
    assert examined.scores['aAcc'] == pytest.approx(100 * 260 / 300)
    assert examined.coverage == 75
    assert examined.by_score() == [2, 1, 0]
    assert examined.picture_iou(0) == 100
    assert examined.picture_iou(1) == pytest.approx(100 * (50 / 70 + 30 / 50) / 2)
    assert (examined.most_missed(0), examined.most_missed(1)) == (None, 1)
    empty = examined_of(['x'], np.zeros((1, 2, 2), np.int64), pixels=9)
    assert np.isnan(empty.iou).all() and np.isnan(empty.scores['mIoU'])
    assert np.isnan(empty.picture_iou(0)) and empty.by_score() == []


def test_what_is_wrong_with_the_weakest_classes(examined):
    first, second = weakest(examined, ['road', 'pole', 'train'])  # no train is there
    assert (first.label, second.label) == ('pole', 'road')
    assert (first.index, second.index) == (1, 0)
    assert (first.pictures, second.pictures) == (3, 3)
    assert first.iou == 50
    assert first.share == pytest.approx(100 * 80 / 300)
    assert (first.recall, first.precision) == (50, 100)
    assert first.taken_for == [('road', 100 * 38 / 80)]  # train: 2 of 80, not worth a word
    assert (first.picture, second.picture) == (1, None)
    assert second.taken_for == []


def test_the_figures_show_what_was_found(examined):
    names = ['road', 'pole', 'train']
    axes = draw_classes(dict(run=examined), names).axes[0]
    bars = {
        t.get_text().split()[0]: b.get_width()
        for t, b in zip(axes.get_yticklabels(), axes.patches, strict=True)
    }
    assert bars == pytest.approx(dict(zip(names, examined.iou, strict=True)))
    assert list(bars.values()) == sorted(bars.values(), reverse=True)
    shares = [t.get_text().partition('  ')[2] for t in axes.get_yticklabels()]
    assert shares == ['(73.3 %)', '(26.7 %)', '(0 %)']
    axes = draw_confusion('run', examined, names).axes[0]
    shown = np.asarray(axes.images[0].get_array()) ** 2
    assert shown[1] == pytest.approx([100 * 38 / 80, 50, 100 * 2 / 80]), 'the poles, by prediction'
    assert {t.get_text(): t.get_position() for t in axes.texts}['48'] == (0, 1)


def test_the_worst_the_median_and_the_best_are_shown():
    choose = load_tool(TOOL).choose
    scores = [5, 0, 3, 8, 1, 9, 2, 7, 4, 6]
    confusions = np.zeros((10, 2, 2), np.int64)
    confusions[:, 0, 0], confusions[:, 0, 1] = scores, 9
    found = examined_of([str(s) for s in scores], confusions, pixels=1000)
    chosen = [(word, found.names[index]) for word, index in choose(found, 2)]
    assert chosen == [
        ('worst', '0'), ('worst', '1'), ('median', '4'), ('median', '5'), ('best', '8'),
        ('best', '9'),
    ]  # fmt: skip
    assert [found.names[index] for _, index in choose(found, 4)] == [str(i) for i in range(10)]


@pytest.mark.parametrize(
    ('value', 'text'),
    [(100, '100.0 %'), (99.64, '99.6 %'), (10, '10.0 %'), (1.25, '1.2 %'), (0.043, '0.043 %'),
     (1e-5, '< 0.01 %'), (0, '0 %')],
)  # fmt: skip
def test_percentages(value, text):
    assert percent(value) == text


def test_what_is_missing_is_named(trained, tmp_path, capsys):
    main = load_tool(TOOL).main

    def said(*arguments) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        return capsys.readouterr().err

    assert 'none: no such folder; give a work dir of train.py' in said(tmp_path / 'none')
    assert 'no config of a run' in said(tmp_path)
    assert '--pictures 0 --batch 4: give numbers' in said(trained, '--pictures', 0)
    assert 'no.pth does not exist' in said(trained, '--checkpoint', 'no.pth')
    both = trained, trained, '--checkpoint', trained / 'iter_1.pth'
    assert '--checkpoint: 1 given for 2 work dirs' in said(*both)
    (tmp_path / 'config.py').write_text('model = dict()')
    assert 'has no model with a decode_head' in said(tmp_path)
    (tmp_path / 'config.py').write_text('model = dict(decode_head=dict())')
    assert 'has no val_dataloader' in said(tmp_path)
    (tmp_path / 'other.py').touch()
    assert 'holds several configs (config.py, other.py)' in said(tmp_path)
    (tmp_path / 'other.py').unlink()
    assert 'expected a name that ends in .html' in said(trained, '--out', tmp_path / 'report')
    (tmp_path / 'config.py').write_text('1 +')
    assert 'config.py cannot be read as a config' in said(tmp_path)
    gone = 'val_dataloader.dataset.data_root=nowhere'
    assert 'nowhere' in said(trained, '--cfg-options', gone)
    fewer = shutil.copytree(trained, tmp_path / 'fewer')
    config = config_of(fewer)
    config.write_text(
        config.read_text() + "val_dataloader['dataset']['metainfo'] = dict(classes=('road',))\n"
    )
    assert 'they cannot be compared' in said(fewer)
