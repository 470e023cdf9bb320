"""What the inspection of a set of pairs counts, where it looks, and how it ends."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from helpers.inspected_sets import SEEDS, TOOL, codes, join, message, write_set
from helpers.pairs import CITYSCAPES, ROOT, coloured, label_map, photo
from helpers.programs import run_tool

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.toolkit.conversion.pair_splitting import find_jobs
from pspnet_plugin.toolkit.inspection.pair_statistics import Reading
from pspnet_plugin.toolkit.inspection.split_selection import find_splits


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / 'set')


def test_a_clean_set_has_nothing_wrong_and_exact_shares(root, inspect):
    output, findings = inspect(root)
    assert '\nnothing wrong found\n' in output
    assert findings['problems'] == []
    for split, seeds in SEEDS.items():
        labels = [label_map(64, 64, seed=seed) for seed in seeds]
        counts = np.bincount(np.ravel(labels), minlength=19)
        assert counts.min() > 0
        found = findings['splits'][split]
        assert found['pairs'] == found['in_palette'] == len(seeds)
        assert found['sizes'] == {'64x64': len(seeds)}
        assert found['labelled'] == 1 and found['void'] == found['unexplained'] == 0
        shares = [entry['share'] for entry in found['classes']]
        assert np.allclose(shares, counts / counts.sum(), rtol=0, atol=1e-12)
        pictures = sum(np.bincount(m.ravel(), minlength=19) > 0 for m in labels)
        assert [entry['pictures'] for entry in found['classes']] == pictures.tolist()


def test_void_and_unexplained_pixels_are_told_apart(tmp_path, inspect):
    colors = coloured(label_map(64, 64))
    colors[:16] = (0, 74, 111)  # 'dynamic', void
    colors[16:20] = (0, 255, 255)
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / '1.png').write_bytes(join(photo(64, 64), colors))
    _, findings = inspect(tmp_path / 'set', '--rule', 'nearest')
    found = findings['splits']['.']
    assert found['void'] == 16 / 64
    assert found['unexplained'] == 4 / 64
    assert found['labelled'] == 44 / 64
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])
    assert (decoder.decode(colors) == 255).mean() == pytest.approx(20 / 64, abs=0.05)


@pytest.mark.parametrize('rule', ['edge_aware', 'nearest'])
def test_pairs_are_read_as_a_training_reads_them(demo_root, rule):
    """Void colours count as classes of their own here, which must change nothing."""
    palette, void = ([tuple(c) for c in CITYSCAPES[k]] for k in ('palette', 'void_palette'))
    reading = Reading(tuple(palette), tuple(void), 'left', rule, 40)
    decoder = LabelDecoder(palette, void_palette=void, rule=rule)
    for path in sorted((demo_root / 'train').glob('*.jpg'))[:4]:
        _, colors = reading.halves(cv2.imread(str(path)))
        positions = reading.positions(colors)
        assert (positions == 255).any() and ((positions > 18) & (positions < 255)).any()
        assert (np.where(positions < 19, positions, 255) == decoder.decode(colors)).all()
        assert (reading.sure(colors) == decoder.sure(colors)).all()


@pytest.mark.parametrize(
    ('option', 'decode'),
    [
        (['--max-distance', 'none'], dict(max_distance=None)),
        (['--max-distance', '30'], dict(max_distance=30)),
        (['--min-confidence', '0.99'], dict(min_confidence=0.99)),
        (['--min-confidence', '0'], dict(min_confidence=0)),
    ],
    ids=' '.join,
)
def test_options_of_decoding_mean_what_they_mean_to_a_training(demo_root, inspect, option, decode):
    rule = 'nearest' if 'max_distance' in decode else 'edge_aware'
    arguments = (demo_root, '--splits', 'val', '--rule', rule)
    _, findings = inspect(*arguments, *option)
    void = CITYSCAPES['void_palette']
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=void, rule=rule, **decode)
    halves = [cv2.imread(str(path))[:, 256:] for path in (demo_root / 'val').glob('*.jpg')]
    labelled = np.mean([decoder.decode(half) < 255 for half in halves])
    assert findings['splits']['val']['labelled'] == pytest.approx(labelled)
    assert (
        findings['splits']['val']['labelled'] != inspect(*arguments)[1]['splits']['val']['labelled']
    )
    (key,) = decode
    assert findings[key] == decode[key]


def test_min_explained_says_what_is_a_label_picture(root, inspect):
    colors = coloured(label_map(64, 64, seed=5))
    colors[:26] = (0, 255, 255)
    (root / 'val' / '5.png').write_bytes(join(photo(64, 64, seed=5), colors))
    for share, foreign in (('0.5', []), ('0.7', ['5.png']), ('0', [])):
        found = inspect(root, '--min-explained', share, status=1)[1]
        assert found['splits']['val']['foreign'] == foreign


def test_json_says_what_the_table_says(demo_root, inspect):
    output, findings = inspect(demo_root, '--splits', 'train')
    (split,) = findings['splits'].values()
    rows = re.findall(r'^  (\S.*?) +([\d.]+) +(\d+) +([\d.]+)$', output, re.MULTILINE)
    assert len(rows) == 19
    for row, entry in zip(rows, split['classes'], strict=True):
        assert row == (
            entry['name'], f'{100 * entry["share"]:.2f}', f'{entry["pictures"]}',
            f'{100 * entry["unsure"]:.1f}',
        )  # fmt: skip
    assert sum(entry['share'] for entry in split['classes']) == pytest.approx(1)
    assert f'{split["unsure"]:.2%} are unsure' in output and split['unsure'] > 0.05
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])
    halves = [cv2.imread(str(path))[:, 256:] for path in (demo_root / 'train').glob('*.jpg')]
    labels, sure = (np.stack([read(h) for h in halves]) for read in (decoder.decode, decoder.sure))
    for index in np.flatnonzero(np.bincount(labels[labels < 255])):
        share = (~sure)[labels == index].mean()
        assert split['classes'][index]['unsure'] == pytest.approx(share)
    assert split['labelled'] + split['void'] + split['unexplained'] == pytest.approx(1)


def test_splits_are_found_where_the_dataset_finds_them(root, tmp_path, inspect):
    nested = tmp_path / 'kaggle' / 'cityscapes_data'
    shutil.copytree(root, nested)
    for folder, names in ((tmp_path / 'kaggle', {'train', 'val'}), (root / 'val', {'.'})):
        assert set(inspect(folder)[1]['splits']) == names
    assert set(inspect(root, '--splits', 'val')[1]['splits']) == {'val'}


def test_a_picture_in_the_root_is_a_stray_and_no_split(root, inspect):
    shutil.copy(root / 'train' / '2.png', root / 'val' / '20.png')
    inspect(root, '--sheet', root / 'sheet.png', status=1)
    output, findings = inspect(root, status=1)
    assert set(findings['splits']) == {'train', 'val'}
    assert codes(findings) == [('error', 'leakage', ''), ('warning', 'stray', '')]
    assert 'warning: pictures beside the folders' in output
    assert ': 1: sheet.png; move' in message(findings, 'stray')
    assert set(inspect(root, '--splits', 'train')[1]['splits']) == {'train'}


@pytest.mark.parametrize(
    'names',
    [
        ['train/1.png', 'cityscapes_data/val/1.png'],
        ['train/a/1.png', 'cityscapes_data/train/2.png', 'cityscapes_data/cityscapes_data/t/3.png'],
        ['train/notes.txt', 'cityscapes_data/train/1.png', 'cityscapes_data/val/2.png'],
        ['cityscapes_data/1.png', 'cityscapes_data/train/2.png', '.hidden/3.png', '4.png'],
    ],
    ids=['both roots', 'three roots', 'first folder counts', 'strays'],
)
def test_splits_are_those_that_split_pairs_writes(tmp_path, names):
    root = tmp_path / 'set'
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')
    splits, strays = find_splits(root)
    jobs = find_jobs(root, tmp_path / 'out')
    assert {split.path(name) for split in splits for name in split.pairs} == {
        str(job.sources[0]) for job in jobs
    }
    assert [s.name for s in splits] == sorted(
        {j.outputs[-1].relative_to(tmp_path).parts[2] for j in jobs}
    )
    assert strays == (['4.png', 'cityscapes_data/1.png'] if '4.png' in names else [])


def test_findings_do_not_depend_on_the_workers(demo_root, tmp_path):
    for workers in (1, 2):
        out = tmp_path / f'{workers}.json'
        run_tool(TOOL, demo_root, '--workers', workers, '--json', out)
    assert (tmp_path / '1.json').read_bytes() == (tmp_path / '2.json').read_bytes()


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['none'], 'none: no such folder'),
        (['empty'], 'no pair in it or its sub-folders (notes.txt)'),
        (['set', '--splits', 'test'], 'no pairs in test; its splits are train, val'),
        (['set', '--palette', 'nosuch'], '--palette nosuch: no such file'),
        (['set', '--workers', '0'], 'no whole number of 1 or more'),
        (['set', '--max-distance', '-1'], 'max_distance=-1.0'),
        (['set', '--max-distance', 'no'], "'no' is no number, nor none"),
        (['set', '--min-confidence', '2'], 'min_confidence=2.0: give a share'),
        (['set', '--min-explained', '-1'], 'min_explained=-1.0: give a share'),
        (['set', '--palette', 'COCOStuffDataset'], 'name a colour twice'),
        (['set', '--sheet', 'sheet.jpg'], 'expected a name ending in .png'),
        (['set', '--sheet', 'none/sheet.png'], 'there is no folder none; make it'),
        (['set', '--sheet', 'empty/notes.txt/sheet.png'], 'there is no folder'),
        (['set', '--photo-side', 'top'], "invalid choice: 'top'"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_bad_arguments_end_in_one_line(root, tmp_path, monkeypatch, inspect, arguments, text):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('')
    monkeypatch.chdir(tmp_path)
    output, _ = inspect(*arguments, status=2)
    assert text in output.strip().splitlines()[-1]
    assert 'Traceback' not in output


def test_folders_without_rights_are_named_at_start(root, tmp_path):
    locked, closed = tmp_path / 'locked', tmp_path / 'closed'
    write_set(closed)
    locked.mkdir()
    code = (
        'import sys\nfrom helpers.programs import load_tool\n'
        'main = load_tool("analysis_tools/inspect_pairs.py").main\n'
        'for name, end in (("--json", "/a.json"), ("--sheet", "/a.png")):\n'
        '    assert main([sys.argv[1], "--workers", "1", name, sys.argv[2] + end]) == 2\n'
        'assert main([sys.argv[3], "--workers", "1"]) == 2\n'
    )
    command = [sys.executable, '-c', code, root, locked, closed]
    if os.geteuid() == 0:  # rights bind root only without these
        less = '-dac_override,-dac_read_search'
        command = ['setpriv', f'--bounding-set={less}', f'--inh-caps={less}', *command]
    locked.chmod(0o555)
    (closed / 'train').chmod(0)
    try:
        output = run_tool(*command, env=dict(PYTHONPATH=f'{ROOT}/tests:{ROOT}'))
    finally:
        (closed / 'train').chmod(0o755)
        locked.chmod(0o755)
    for option in ('--json', '--sheet'):
        assert re.search(
            rf'^inspect_pairs: {option} .*: no right to write in {locked};', output, re.M
        )
    assert f'inspect_pairs: no right to read {closed / "train"};' in output
    assert 'pairs; halves' not in output and 'Traceback' not in output


def test_a_full_disk_is_named_after_the_findings_are_told(root, tmp_path, inspect):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        output, _ = inspect(root, status=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 'nothing wrong found' in output
    assert re.search(r'^inspect_pairs: .*File too large.*findings\.json', output, re.MULTILINE)
    assert not [path for path in tmp_path.iterdir() if 'findings' in path.name]


def test_ctrl_c_ends_it_at_once_without_a_traceback(root):
    for number in range(2000):
        os.link(root / 'train' / '1.png', root / 'train' / f'{number + 100}.png')
    process = subprocess.Popen(
        [sys.executable, TOOL, root, '--workers', '2'],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    seen = b''
    while b'%|' not in seen.replace(b'  0%|', b''):
        seen += (part := os.read(process.stderr.fileno(), 4096))
        assert part, seen.decode()
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest.decode()
    assert time.monotonic() - start < 20
    assert b'inspect_pairs: interrupted' in rest and b'Traceback' not in rest
