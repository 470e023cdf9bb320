"""Statistics of a set of pairs, its splits, and unusable arguments of the inspection."""

import re
import resource
import shutil

import cv2
import numpy as np
import pytest
from helpers.inspected_sets import SEEDS, codes, finding, join, write_set
from helpers.pairs import CITYSCAPES, coloured, label_map, photo

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.toolkit.conversion.pair_splitting import find_jobs
from pspnet_plugin.toolkit.inspection.split_statistics import find_splits

VOID = CITYSCAPES['void_palette']


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / 'set')


def test_a_clean_set_has_no_findings_and_exact_shares(root, inspect):
    _, findings = inspect(root)
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
        images = sum(np.bincount(m.ravel(), minlength=19) > 0 for m in labels)
        assert [entry['pictures'] for entry in found['classes']] == images.tolist()


def test_void_and_unexplained_pixels_are_distinguished(tmp_path, inspect):
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


@pytest.mark.parametrize(
    ('option', 'decode'),
    [
        (['--max-distance', 'none'], dict(max_distance=None)),
        (['--max-distance', '30'], dict(max_distance=30)),
        (['--min-confidence', '0.99'], dict(min_confidence=0.99)),
    ],
    ids=' '.join,
)
def test_options_of_decoding_mean_what_they_mean_to_a_training(demo_root, inspect, option, decode):
    rule = 'nearest' if 'max_distance' in decode else 'edge_aware'
    arguments = (demo_root, '--splits', 'val', '--rule', rule)
    _, findings = inspect(*arguments, *option)
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=VOID, rule=rule, **decode)
    halves = [cv2.imread(str(path))[:, 256:] for path in (demo_root / 'val').glob('*.jpg')]
    labelled = np.mean([decoder.decode(half) < 255 for half in halves])
    found, usual = (f['splits']['val']['labelled'] for f in (findings, inspect(*arguments)[1]))
    assert found == pytest.approx(labelled) and found != usual
    (key,) = decode
    assert findings[key] == decode[key]


def test_min_explained_decides_which_images_are_labels(root, inspect):
    colors = coloured(label_map(64, 64, seed=5))
    colors[:26] = (0, 255, 255)
    (root / 'val' / '5.png').write_bytes(join(photo(64, 64, seed=5), colors))
    for share, foreign in (('0.5', []), ('0.7', ['5.png']), ('0', [])):
        found = inspect(root, '--min-explained', share, status=1)[1]
        assert found['splits']['val']['foreign'] == foreign


def test_table_and_json_hold_what_the_decoder_finds(demo_root, inspect):
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
    assert f'{split["unsure"]:.2%}' in output and split['unsure'] > 0.05
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=VOID)
    halves = [cv2.imread(str(path))[:, 256:] for path in (demo_root / 'train').glob('*.jpg')]
    labels, sure = (np.stack([read(h) for h in halves]) for read in (decoder.decode, decoder.sure))
    counts = np.bincount(labels[labels < 255], minlength=19)
    assert [entry['share'] for entry in split['classes']] == pytest.approx(counts / counts.sum())
    for index in np.flatnonzero(counts):
        share = (~sure)[labels == index].mean()
        assert split['classes'][index]['unsure'] == pytest.approx(share)
    assert split['labelled'] + split['void'] + split['unexplained'] == pytest.approx(1)


def test_splits_are_found_where_the_dataset_finds_them(root, tmp_path, inspect):
    nested = tmp_path / 'kaggle' / 'cityscapes_data'
    shutil.copytree(root, nested)
    for folder, names in ((tmp_path / 'kaggle', {'train', 'val'}), (root / 'val', {'.'})):
        assert set(inspect(folder)[1]['splits']) == names
    assert set(inspect(root, '--splits', 'val')[1]['splits']) == {'val'}


def test_an_image_in_the_root_is_a_stray_and_no_split(root, inspect):
    shutil.copy(root / 'train' / '2.png', root / 'val' / '20.png')
    inspect(root, '--sheet', root / 'sheet.png', status=1)
    _, findings = inspect(root, status=1)
    assert set(findings['splits']) == {'train', 'val'}
    assert codes(findings) == [('error', 'leakage', ''), ('warning', 'stray', '')]
    assert finding(findings, 'stray')[1] == ['sheet.png']


@pytest.mark.parametrize(
    'names',
    [
        ['train/1.png', 'cityscapes_data/val/1.png'],
        ['train/a/1.png', 'cityscapes_data/train/2.png', 'cityscapes_data/cityscapes_data/t/3.png'],
        ['train/notes.txt', 'cityscapes_data/train/1.png', 'cityscapes_data/val/2.png'],
        ['cityscapes_data/1.png', 'cityscapes_data/train/2.png', '.hidden/3.png', '4.png'],
    ],
    ids=['both roots', 'three roots', 'first directory counts', 'strays'],
)
def test_splits_are_those_that_split_pairs_writes(tmp_path, names):
    root = tmp_path / 'set'
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')
    splits, strays = find_splits(root)
    jobs = find_jobs(root, tmp_path / 'out')
    paths = {split.path(name) for split in splits for name in split.pairs}
    assert paths == {str(job.sources[0]) for job in jobs} and paths
    written = {job.outputs[-1].relative_to(tmp_path).parts[2] for job in jobs}
    assert [split.name for split in splits] == sorted(written)
    assert strays == (['4.png', 'cityscapes_data/1.png'] if '4.png' in names else [])


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        (['none'], ['none']),
        (['empty'], ['empty', 'notes.txt']),
        (['set', '--splits', 'test'], ['test', 'train, val']),
        (['set', '--palette', 'nosuch'], ['--palette nosuch', 'cityscapes, camvid']),
        (['set', '--workers', '0'], ["'0'"]),
        (['set', '--max-distance', '-1'], ['max_distance=-1.0']),
        (['set', '--max-distance', 'no'], ["'no'"]),
        (['set', '--min-confidence', '2'], ['min_confidence=2.0']),
        (['set', '--min-explained', '-1'], ['min_explained=-1.0']),
        (['set', '--palette', 'COCOStuffDataset'], ['(']),
        (['set', '--sheet', 'sheet.jpg'], ['sheet.jpg', '.png']),
        (['set', '--sheet', 'none/sheet.png'], ['none/sheet.png']),
        (['set', '--sheet', 'empty/notes.txt/sheet.png'], ['empty/notes.txt/sheet.png']),
        (['set', '--photo-side', 'top'], ["'top'"]),
    ],
    ids=lambda value: ' '.join(value[-2:]),
)
def test_bad_arguments_end_in_one_line(root, tmp_path, monkeypatch, inspect, arguments, carried):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('')
    monkeypatch.chdir(tmp_path)
    output, findings = inspect(*arguments, status=2)
    assert all(text in output.strip().splitlines()[-1] for text in carried)
    assert 'Traceback' not in output and findings is None


def test_a_full_disk_is_named_after_the_statistics(root, tmp_path, inspect):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        output, _ = inspect(root, status=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert '64x64' in output
    assert re.search(r'^inspect_pairs: .*File too large.*findings\.json', output, re.MULTILINE)
    assert not [path for path in tmp_path.iterdir() if 'findings' in path.name]
