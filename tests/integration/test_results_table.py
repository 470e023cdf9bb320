"""``results_table.py``: from work dirs to files of results, page, plots and index."""

import json
import re
import shutil
from pathlib import Path

import cv2
import pytest
import yaml
from helpers.pairs import ROOT

from benchmarks.results_table import main
from benchmarks.run_results import DECODINGS, collect, load_all_results
from pspnet_plugin.engine.hooks.run_record_hook import RECORD


@pytest.fixture
def work_dir(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / 'run'))


def change_record(work_dir: Path, change) -> None:
    record = json.loads((work_dir / RECORD).read_text())
    change(record)
    (work_dir / RECORD).write_text(json.dumps(record))


def test_earlier_trainings_of_a_work_dir_do_not_count(work_dir):
    def collected():
        return collect(work_dir, group='g', label='l', command='c')

    (part,) = json.loads((work_dir / RECORD).read_text())['parts']
    scores = len(collected().scores)
    old = dict(last_iteration=7, seconds=600, started='2020-01-01T00:00:00+00:00')
    change_record(work_dir, lambda record: record['parts'].insert(0, {**part, **old}))
    test = dict(ended='2020-01-01T00:01:00+00:00', loop='test')
    change_record(work_dir, lambda r: r['scores'].append({**r['scores'][-1], **test}))
    run = collected()
    assert run.minutes < 5 and run.pairs_seen == 4 and len(run.scores) == scores > 0
    resumed = {**part, 'first_iteration': 2, 'last_iteration': 3, 'seconds': 60}
    change_record(work_dir, lambda record: record['parts'].append(resumed))
    run = collected()
    assert run.minutes < 6 and run.pairs_seen == 6


def test_from_work_dirs_to_page_plots_and_index(work_dir, tmp_path):
    results = tmp_path / 'results'
    collecting = ['--results', str(results), 'collect', str(work_dir), '--label', 'The demo']
    collecting += ['--group', 'quick', '--command', 'python tools/train.py configs/psp_demo.py']
    last = json.loads((work_dir / RECORD).read_text())['scores'][-1]
    t40 = {**last, 'decode': DECODINGS['t40']}
    change_record(work_dir, lambda record: record['scores'].append(t40))
    for seed in (0, 5):
        change_record(work_dir, lambda r, seed=seed: r['parts'][-1].update(seed=seed))
        assert main(collecting) == 0
    files = {str(path.relative_to(results)) for path in results.rglob('*.json')}
    assert files == {'quick/the-demo_seed0.json', 'quick/the-demo_seed5.json'}
    first, second = load_all_results(results)
    assert (first.seed, second.seed) == (0, 5)
    assert 100_000 < first.parameters < 1_000_000
    assert 10**8 < first.multiply_adds < 10**10
    assert first.curves['loss'][0] == [1, 2]
    assert first.score('t40') == last['metrics']
    assert max(map(len, (results / first.path).read_text().splitlines())) < 3000

    (results / 'results.md.j2').write_text("# Results\n\n{{ scores('quick') }}\n")
    index, page = tmp_path / 'index.yml', tmp_path / 'results.md'
    shutil.copy(ROOT / 'model-index.yml', index)
    arguments = ['--results', str(results), 'write', '--page', str(page), '--index', str(index)]
    assert main([*arguments, '--index-groups', 'quick']) == 0
    assert re.search(r'\| The demo \| `psp_demo.py` \| 0\.\d\d \|', page.read_text())
    for name, width in (('curves', 900), ('classes', 700)):
        assert cv2.imread(str(results / 'quick' / f'{name}.png')).shape[1] > width
    before, after = (
        yaml.safe_load(path.read_text())['Models'] for path in (ROOT / 'model-index.yml', index)
    )
    assert [model['Config'] for model in after] == [model['Config'] for model in before]
    (demo,) = (model for model in after if model['Name'] == 'psp_demo')
    assert demo['Results'][0]['Metrics']['mIoU'] == round(last['metrics']['mIoU'], 2)
    resources = demo['Metadata'].pop('Training Resources')
    assert re.fullmatch(r'\d+ minutes; CPU cores: \d+ \(.+\)', resources)
    assert demo['Metadata'] == dict(Parameters=first.parameters, Seeds=[0, 5])


def test_unusable_work_dirs_are_named(work_dir, tmp_path, capsys):
    options = ['--group', 'g', '--label', 'l', '--command', 'c']
    assert main(['collect', str(tmp_path), *options]) == 2
    assert str(tmp_path / RECORD) in capsys.readouterr().err
    change_record(work_dir, lambda record: record['parts'][-1].update(ended=False))
    assert main(['collect', str(work_dir), *options]) == 2
    assert str(work_dir / RECORD) in capsys.readouterr().err
