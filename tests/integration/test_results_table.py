"""``results_table.py``: from work dirs to files of results, page, plots and index."""

import json
import re
import shutil

import cv2
import yaml
from helpers.pairs import ROOT
from helpers.trainings import change_record

from benchmarks.results_table import main
from benchmarks.run_results import DECODINGS, load_all_results
from pspnet_plugin.engine.hooks.run_record_hook import RECORD


def test_from_work_dirs_to_page_plots_and_index(trained_copy, tmp_path):
    results = tmp_path / 'results'
    collecting = ['--results', str(results), 'collect', str(trained_copy), '--label', 'The demo']
    collecting += ['--group', 'quick', '--command', 'python tools/train.py configs/psp_demo.py']
    last = json.loads((trained_copy / RECORD).read_text())['scores'][-1]
    t40 = {**last, 'decode': DECODINGS['t40']}
    change_record(trained_copy, lambda record: record['scores'].append(t40))
    for seed in (0, 5):
        change_record(trained_copy, lambda r, seed=seed: r['parts'][-1].update(seed=seed))
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


def test_unusable_work_dirs_are_named(trained_copy, tmp_path, capsys):
    change_record(trained_copy, lambda record: record['parts'][-1].update(ended=False))
    for folder in (tmp_path, trained_copy):
        assert main(['collect', str(folder), '--group', 'g', '--label', 'l', '--command', 'c']) == 2
        assert str(folder / RECORD) in capsys.readouterr().err
