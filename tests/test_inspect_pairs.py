"""What the inspection of a set of pairs finds, and that it finds what is wrong."""

import importlib.util
import json
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
from conftest import CITYSCAPES, ROOT, coloured, label_map, photo, run_tool, write_pair

from pspnet_plugin.datasets import LabelCodec
from pspnet_plugin.datasets.inspection.looks import Reading
from pspnet_plugin.datasets.palettes import NAMED, known_palettes, read_metainfo

TOOL = ROOT / 'tools' / 'analysis_tools' / 'inspect_pairs.py'
SEEDS = {'train': (1, 2, 3, 4), 'val': (11, 12)}


@pytest.fixture(scope='module')
def tool():
    """The tool as a module."""
    spec = importlib.util.spec_from_file_location('inspect_pairs', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def inspect(tool, capsys, tmp_path):
    """Runs the tool in this process, checks its exit status; returns its words and its JSON."""

    def run(root, *arguments, status=0):
        out = tmp_path / 'findings.json'
        out.unlink(missing_ok=True)
        capsys.readouterr()
        words = [str(root), '--workers', '1', '--json', str(out), *map(str, arguments)]
        try:
            found = tool.main(words)
        except SystemExit as stopped:
            found = stopped.code
        output = ''.join(capsys.readouterr())
        assert found == status, output
        return output, json.loads(out.read_text()) if out.exists() else None

    return run


@pytest.fixture
def root(tmp_path):
    """Four train and two val pairs, 64 x 64, lossless, with no photo in common."""
    for split, seeds in SEEDS.items():
        for seed in seeds:
            write_pair(tmp_path / 'set' / split / f'{seed}.png', seed=seed)
    return tmp_path / 'set'


def join(left, right):
    """A picture file of two halves, BGR."""
    return cv2.imencode('.png', np.hstack([left, right]))[1].tobytes()


def codes(findings):
    """Severity, code and split of each problem."""
    return [(p['severity'], p['code'], p['split']) for p in findings['problems']]


def message(findings, code):
    """What is said about the only problem of that code."""
    (found,) = [p for p in findings['problems'] if p['code'] == code]
    return found['message']


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
    codec = LabelCodec(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])
    assert (codec.decode(colors) == 255).mean() == pytest.approx(20 / 64, abs=0.05)


@pytest.mark.parametrize('rule', ['edge_aware', 'nearest'])
def test_pairs_are_read_as_a_training_reads_them(demo_root, rule):
    """Void colours count as classes of their own here, which must change nothing."""
    palette, void = ([tuple(c) for c in CITYSCAPES[k]] for k in ('palette', 'void_palette'))
    reading = Reading(tuple(palette), tuple(void), 'left', rule, 40)
    codec = LabelCodec(palette, void_palette=void, rule=rule)
    for path in sorted((demo_root / 'train').glob('*.jpg'))[:4]:
        _, colors = reading.halves(cv2.imread(str(path)))
        positions = reading.positions(colors)
        assert (positions == 255).any() and ((positions > 18) & (positions < 255)).any()
        assert (np.where(positions < 19, positions, 255) == codec.decode(colors)).all()
        assert (reading.sure(colors) == codec.sure(colors)).all()


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
    codec = LabelCodec(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])
    halves = [cv2.imread(str(path))[:, 256:] for path in (demo_root / 'train').glob('*.jpg')]
    labels, sure = (np.stack([read(h) for h in halves]) for read in (codec.decode, codec.sure))
    for index in np.flatnonzero(np.bincount(labels[labels < 255])):
        share = (~sure)[labels == index].mean()
        assert split['classes'][index]['unsure'] == pytest.approx(share)
    assert split['labelled'] + split['void'] + split['unexplained'] == pytest.approx(1)


def test_unreadable_files_are_named_with_the_reason(root, inspect):
    write_pair(root / 'train' / '9.jpg', seed=9)
    content = (root / 'train' / '9.jpg').read_bytes()
    (root / 'train' / '5.jpg').write_bytes(content[: len(content) // 2])
    (root / 'train' / '6.jpg').write_bytes(b'')
    (root / 'train' / '7.jpg').write_text('404 not found')
    (root / 'train' / '8.png').write_bytes(cv2.imencode('.png', photo(64, 127))[1].tobytes())
    (root / 'train' / '9.jpg').unlink()
    (root / 'train' / 'Thumbs.db').write_bytes(b'')
    _, findings = inspect(root, status=1)
    found = findings['splits']['train']
    reasons = found['unreadable']
    assert reasons['5.jpg'].startswith('cut off or damaged (')
    assert reasons['6.jpg'] == 'empty' and reasons['7.jpg'] == 'no picture'
    assert '127 x 64' in reasons['8.png'] and 'odd width' in reasons['8.png']
    assert found['ignored'] == {'.db': 1}
    assert found['pairs'] == 8 and found['in_palette'] == 4
    assert codes(findings) == [('error', 'unreadable', 'train')]
    assert '4 of 8 files' in message(findings, 'unreadable')


def test_swapped_halves_are_named_with_the_side(root, tmp_path, inspect):
    _, findings = inspect(root, '--photo-side', 'right', status=1)
    assert codes(findings) == [('error', 'swapped', 'train'), ('error', 'swapped', 'val')]
    assert "photo_side='left'" in findings['problems'][0]['message']
    write_pair(root / 'train' / '5.png', seed=5, photo_side='right')
    _, findings = inspect(root, status=1)
    assert findings['splits']['train']['swapped'] == ['5.png']
    assert 'swap their halves as the others are' in message(findings, 'swapped')


def other_palette(root, palette, *, suffix='.png', channels=1):
    """A set of four pairs in other colours."""
    for seed in range(4):
        labels = label_map(64, 64, seed=seed, classes=len(palette))
        colors = coloured(labels, palette)[..., ::channels]
        content = cv2.imencode(suffix, np.hstack([photo(64, 64, seed=seed), colors]))[1]
        root.mkdir(exist_ok=True)
        (root / f'{seed}{suffix}').write_bytes(content.tobytes())
    return root


@pytest.mark.parametrize(
    ('name', 'suffix'),
    [('camvid', '.png'), ('camvid', '.jpg'), ('camvid11', '.png'), ('facades', '.png'),
     ('LoveDADataset', '.png'), ('PascalVOCDataset', '.png')],
)  # fmt: skip
def test_another_palette_is_recognised(tmp_path, inspect, name, suffix):
    palette = read_metainfo(name)['palette']
    root = other_palette(tmp_path / 'set', palette, suffix=suffix)
    output, findings = inspect(root, status=1)
    assert 'foreign' in [p['code'] for p in findings['problems']]
    assert f'try --palette {name}\n' in output
    assert len(findings['splits']['.']['foreign']) == 4
    _, findings = inspect(root, '--palette', name)
    assert not [p for p in findings['problems'] if p['severity'] == 'error']


def test_a_palette_that_cannot_be_told_apart_is_named_without_advice_to_use_it(tmp_path, inspect):
    root = other_palette(tmp_path / 'set', read_metainfo('ADE20KDataset')['palette'])
    output, _ = inspect(root, status=1)
    assert "look like ADE20KDataset's palette" in output and 'name yours in a file' in output
    assert 'name a colour twice' in inspect(root, '--palette', 'ADE20KDataset', status=2)[0]


def test_labels_saved_as_bgr_are_recognised(tmp_path, inspect):
    root = other_palette(tmp_path / 'set', CITYSCAPES['palette'], channels=-1)
    _, findings = inspect(root, status=1)
    assert 'saved as BGR' in message(findings, 'foreign')
    camvid = other_palette(tmp_path / 'camvid', NAMED['camvid']['palette'], channels=-1)
    _, findings = inspect(camvid, status=1)
    text = message(findings, 'foreign')
    assert "camvid's palette saved as BGR" in text and text.endswith(
        'red and blue of the label halves'
    )


def test_index_maps_and_photos_are_recognised(tmp_path, inspect):
    gray = [[i, i, i] for i in range(19)]
    output, _ = inspect(other_palette(tmp_path / 'indices', gray), status=1)
    assert 'class indices' in output
    (tmp_path / 'photos').mkdir()
    for seed in range(3):
        picture = cv2.GaussianBlur(photo(64, 128, seed=seed), (0, 0), 3)
        (tmp_path / 'photos' / f'{seed}.png').write_bytes(cv2.imencode('.png', picture)[1])
    output, findings = inspect(tmp_path / 'photos', status=1)
    assert 'plain photos' in message(findings, 'foreign')


def test_a_stray_picture_is_named_without_a_guess_at_the_palette(root, inspect):
    for seed in range(20, 30):
        write_pair(root / 'train' / f'{seed}.png', seed=seed)
    picture = cv2.imencode('.png', photo(64, 128))[1]
    (root / 'train' / 'stray.png').write_bytes(picture.tobytes())
    _, findings = inspect(root, status=1)
    assert codes(findings) == [('error', 'foreign', 'train')]
    text = message(findings, 'foreign')
    assert '1 of 15 pairs' in text and text.endswith(
        'stray.png. Look at them: the others are in it'
    )


def test_a_colour_missing_from_the_palette_is_listed(root, inspect):
    colors = coloured(label_map(64, 64, seed=5))
    colors[:, 40:] = (10, 250, 240)
    (root / 'train' / '5.png').write_bytes(join(photo(64, 64, seed=5), colors))
    for seed in (4, 6):  # less of it, before and after
        fewer = coloured(label_map(64, 64, seed=seed))
        fewer[:, 56:] = (10, 250, 240)
        (root / 'train' / f'{seed}.png').write_bytes(join(photo(64, 64, seed=seed), fewer))
    output, findings = inspect(root, status=1)
    (color,) = findings['splits']['train']['unknown_colors']
    assert color['color'] == [240, 250, 10] and color['example'] == '5.png'
    assert codes(findings) == [('error', 'unknown-colors', 'train')]
    assert re.search(r'\(240, 250, 10\) +\d+\.\d+%  5\.png', output)
    assert color['share'] == pytest.approx((24 + 8 + 8) / 64 / 6, rel=0.2)


def test_blends_on_edges_are_no_missing_colours(demo_root, inspect):
    _, findings = inspect(demo_root)
    for split in findings['splits'].values():
        assert split['unexplained'] > 0.01 and split['unknown_colors'] == []
    assert {p['code'] for p in findings['problems']} <= {'absent'}


def test_a_photo_of_train_in_val_is_leakage(root, inspect):
    shutil.copy(root / 'train' / '2.png', root / 'val' / '20.png')
    picture = cv2.imencode('.jpg', photo(64, 64, seed=3), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    smaller = cv2.resize(cv2.imdecode(picture, 1), (48, 48), interpolation=cv2.INTER_AREA)
    (root / 'val' / '30.png').write_bytes(join(smaller, coloured(label_map(48, 48))))
    _, findings = inspect(root, status=1)
    text = message(findings, 'leakage')
    assert 'photos of val that are in train, too' in text and '2 (1 of them as' in text
    assert 'train/2.png = val/20.png' in text and 'train/3.png = val/30.png' in text
    assert codes(findings)[0] == ('error', 'leakage', '')


def test_copies_and_sizes_within_a_split_are_warnings(root, inspect):
    shutil.copy(root / 'train' / '2.png', root / 'train' / '7.png')
    write_pair(root / 'train' / '8.png', seed=8, height=32, width=64)
    (root / 'train' / 'more.tif').write_bytes(b'')
    _, findings = inspect(root)
    assert codes(findings) == [
        ('warning', code, 'train') for code in ('ignored', 'sizes', 'duplicates')
    ]
    assert '2.png = 7.png' in message(findings, 'duplicates')
    assert findings['splits']['train']['sizes'] == {'64x32': 1, '64x64': 5}


@pytest.mark.parametrize('wide', ['photo', 'labels'])
def test_halves_that_do_not_meet_in_the_middle_are_found(tmp_path, inspect, wide):
    """Half of 128 pixels is 64, but the photo ends at 80, or at 48."""
    split = 80 if wide == 'photo' else 48
    (tmp_path / 'set').mkdir()
    for seed in range(3):
        pair = np.hstack([photo(64, split, seed=seed), coloured(label_map(64, 128 - split))])
        (tmp_path / 'set' / f'{seed}.png').write_bytes(cv2.imencode('.png', pair)[1])
    _, findings = inspect(tmp_path / 'set', status=1)
    assert 'are not of one size' in message(findings, 'seam')


def test_classes_that_never_occur_are_a_warning(root, inspect):
    for seed in SEEDS['val']:
        write_pair(
            root / 'val' / f'{seed}.png', seed=seed, labels=label_map(64, 64, seed=seed, classes=17)
        )
    _, findings = inspect(root)
    assert codes(findings) == [('warning', 'absent', 'val')]
    assert 'never occur: motorcycle, bicycle' in message(findings, 'absent')


def test_splits_are_found_where_the_dataset_finds_them(root, tmp_path, inspect):
    nested = tmp_path / 'kaggle' / 'cityscapes_data'
    shutil.copytree(root, nested)
    for folder, names in ((tmp_path / 'kaggle', {'train', 'val'}), (root / 'val', {'.'})):
        assert set(inspect(folder)[1]['splits']) == names
    assert set(inspect(root, '--splits', 'val')[1]['splits']) == {'val'}


def test_findings_do_not_depend_on_the_workers(demo_root, tmp_path):
    for workers in (1, 2):
        out = tmp_path / f'{workers}.json'
        run_tool(TOOL, demo_root, '--workers', workers, '--json', out)
    assert (tmp_path / '1.json').read_bytes() == (tmp_path / '2.json').read_bytes()


def test_the_sheet_shows_pixels_as_they_are(root, tmp_path, inspect):
    inspect(root, '--sheet', tmp_path / 'sheet.png', '--pairs', 2)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape[1] == 2 * 24 + 4 * 768 + 3 * 12
    rows = (768 + 34 + 12) * 2
    assert rows < sheet.shape[0] < rows + 300
    pair = cv2.imread(str(root / 'train' / '1.png')).repeat(12, 0).repeat(12, 1)
    top = sheet.shape[0] - 24 - rows + 34
    for i, half in enumerate((pair[:, :768], pair[:, 768:], pair[:, 768:])):
        left = 24 + i * (768 + 12)
        assert (sheet[top : top + 768, left : left + 768] == half).all()


def test_the_sheet_shows_the_most_unsure_pairs(root, tmp_path, tool, inspect):
    labels = label_map(64, 64, seed=5)
    labels[:32] = np.random.default_rng(0).integers(0, 19, (32, 64), dtype=np.uint8)
    write_pair(root / 'train' / '5.png', labels=labels, seed=5)
    picture = cv2.imread(str(root / 'train' / '5.png'))
    content = cv2.imencode('.jpg', picture)[1]
    (root / 'train' / '5.png').write_bytes(content.tobytes())
    args = tool.parse_args([str(root), '--workers', '1'])
    reading = Reading(tuple(map(tuple, CITYSCAPES['palette'])), (), 'left', 'nearest', 40)
    tallies = tool.tally_splits(
        tool.find_splits(args.root), reading=reading, classes=CITYSCAPES['classes'], workers=1
    )
    rows = tool.choose_rows(tallies, 6)
    assert len(rows) == 6 and len({row.path for row in rows}) == 6
    noted = [row.path for row in rows if 'most unsure' in row.caption]
    assert len(noted) == 2 and noted[0].endswith('train/5.png')


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['none'], 'none: no such folder'),
        (['empty'], 'no pair in it or its sub-folders (notes.txt)'),
        (['set', '--splits', 'test'], 'no pairs in test; its splits are train, val'),
        (['set', '--palette', 'nosuch'], '--palette nosuch: no such file; give cityscapes, camvid'),
        (['set', '--workers', '0'], 'give numbers from 1 up'),
        (['set', '--max-distance', '-1'], 'max_distance=-1.0'),
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


def test_a_set_without_a_readable_pair_has_no_sheet(tmp_path, inspect):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / '1.png').write_bytes(b'')
    output, findings = inspect(tmp_path / 'set', '--sheet', tmp_path / 'sheet.png', status=1)
    assert 'not drawn, as there is no pair that can be read' in output
    assert codes(findings) == [('error', 'unreadable', '.')]


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


@pytest.mark.parametrize('name', known_palettes())
def test_known_palettes_have_a_colour_for_every_class(name):
    metainfo = read_metainfo(name)
    assert len(metainfo['classes']) == len(metainfo['palette']) > 1
    assert np.array(metainfo['palette']).shape[1] == 3
    if name in NAMED:
        LabelCodec(metainfo['palette'], void_palette=metainfo['void_palette'])
