"""Statistics of a set of pairs, its splits, and unusable arguments of the inspection."""

import re
import resource
import shutil

import cv2
import numpy as np
import pytest
from helpers.inspected_sets import codes, finding, write_halves
from helpers.pairs import CITYSCAPES, SEEDS, coloured, label_map, photo

from pspnet_plugin.labels import LabelDecoder


def decoded(folder, **decode) -> tuple[np.ndarray, np.ndarray]:
    """Decode the pairs of a folder; return their labels, and which of them are sure."""
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'], **decode)
    halves = [cv2.imread(str(path))[:, 256:] for path in folder.glob('*.jpg')]
    labels, sure = (np.stack([*map(read, halves)]) for read in (decoder.decode, decoder.sure))
    return labels, sure


def test_a_clean_set_has_no_findings_and_exact_shares(pairs_root, inspect):
    _, findings = inspect(pairs_root)
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
    write_halves(tmp_path / 'set' / '1.png', photo(64, 64), colors)
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
    labelled = (decoded(demo_root / 'val', rule=rule, **decode)[0] < 255).mean()
    found, usual = (f['splits']['val']['labelled'] for f in (findings, inspect(*arguments)[1]))
    assert found == pytest.approx(labelled) and found != usual
    (key,) = decode
    assert findings[key] == decode[key]


def test_min_explained_decides_which_images_are_labels(pairs_root, inspect):
    colors = coloured(label_map(64, 64, seed=5))
    colors[:26] = (0, 255, 255)
    write_halves(pairs_root / 'val' / '5.png', photo(64, 64, seed=5), colors)
    for share, foreign in (('0.5', []), ('0.7', ['5.png']), ('0', [])):
        found = inspect(pairs_root, '--min-explained', share, status=1)[1]
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
    assert f'{split["unsure"]:.2%}' in output and split['unsure'] > 0.05
    labels, sure = decoded(demo_root / 'train')
    counts = np.bincount(labels[labels < 255], minlength=19)
    assert [entry['share'] for entry in split['classes']] == pytest.approx(counts / counts.sum())
    for index in np.flatnonzero(counts):
        share = (~sure)[labels == index].mean()
        assert split['classes'][index]['unsure'] == pytest.approx(share)
    assert split['labelled'] + split['void'] + split['unexplained'] == pytest.approx(1)


def test_splits_are_found_where_the_dataset_finds_them(pairs_root, tmp_path, inspect):
    nested = tmp_path / 'kaggle' / 'cityscapes_data'
    shutil.copytree(pairs_root, nested)
    for folder, names in ((tmp_path / 'kaggle', {'train', 'val'}), (pairs_root / 'val', {'.'})):
        assert set(inspect(folder)[1]['splits']) == names
    assert set(inspect(pairs_root, '--splits', 'val')[1]['splits']) == {'val'}


def test_an_image_in_the_root_is_a_stray_and_no_split(pairs_root, inspect):
    shutil.copy(pairs_root / 'train' / '2.png', pairs_root / 'val' / '20.png')
    for name in ('4.png', 'cityscapes_data/1.png', '.hidden/3.png'):
        (pairs_root / name).parent.mkdir(exist_ok=True)
        shutil.copy(pairs_root / 'val' / '1.png', pairs_root / name)
    _, findings = inspect(pairs_root, status=1)
    assert set(findings['splits']) == {'train', 'val'}
    assert codes(findings) == [('error', 'leakage', ''), ('warning', 'stray', '')]
    assert finding(findings, 'stray')[1] == ['4.png', 'cityscapes_data/1.png']


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        ('none', ['none']),
        ('empty', ['empty', 'notes.txt']),
        ('pairs --splits test', ['test', 'train, val']),
        ('pairs --palette nosuch', ['--palette nosuch', 'cityscapes, camvid']),
        ('pairs --workers 0', ["'0'"]),
        ('pairs --max-distance -1', ['max_distance=-1.0']),
        ('pairs --max-distance no', ["'no'"]),
        ('pairs --min-confidence 2', ['min_confidence=2.0']),
        ('pairs --min-explained -1', ['min_explained=-1.0']),
        ('pairs --palette COCOStuffDataset', ['(']),
        ('pairs --sheet sheet.jpg', ['sheet.jpg', '.png']),
        ('pairs --sheet none/sheet.png', ['none/sheet.png']),
        ('pairs --sheet empty/notes.txt/sheet.png', ['empty/notes.txt/sheet.png']),
        ('pairs --photo-side top', ["'top'"]),
    ],
)
def test_bad_arguments_end_in_one_line(
    pairs_root, tmp_path, monkeypatch, inspect, arguments, carried
):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'notes.txt').write_text('')
    monkeypatch.chdir(tmp_path)
    output, findings = inspect(*arguments.split(), status=2)
    assert all(text in output.strip().splitlines()[-1] for text in carried)
    assert 'Traceback' not in output and findings is None


def test_a_full_disk_is_named_after_the_statistics(pairs_root, tmp_path, inspect):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        output, _ = inspect(pairs_root, status=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert '64x64' in output
    assert re.search(r'^inspect_pairs: .*File too large.*findings\.json', output, re.MULTILINE)
    assert not [path for path in tmp_path.iterdir() if 'findings' in path.name]
