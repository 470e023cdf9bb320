"""Generated pairs: what they hold, and that a folder of them is whole or named."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from helpers.pairs import CITYSCAPES, ROOT
from helpers.programs import run_tool

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.toolkit.synthetic import GENERATOR_VERSION, render_pair, street_scene

TOOL = ROOT / 'tools' / 'dataset_converters' / 'make_pairs.py'
CODEC = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])

# Of the labels of the first scenes, by the version of the generator.
DIGESTS = {1: '2ff4bb0f01800408'}


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.suffix in ('.jpg', '.png')
    }


def test_all_classes_and_void_colours_occur():
    names = [*CITYSCAPES['classes'], *map(tuple, CITYSCAPES['void_palette'])]
    seen = np.zeros(len(names), int)
    for seed in range(40):
        _, labels = street_scene(np.random.default_rng(seed))
        assert labels.max() < len(names)
        seen += np.bincount(labels.ravel(), minlength=len(names)) > 0
    absent = [name for name, count in zip(names, seen, strict=True) if not count]
    assert not absent
    assert seen[:19].min() >= 10, dict(zip(names, seen, strict=True))


def test_scenes_are_those_of_their_generator_s_version():
    """A folder of pairs is not gone on with by a generator of other scenes."""
    labels = [street_scene(np.random.default_rng(seed))[1] for seed in range(3)]
    digest = hashlib.sha256(np.stack(labels).tobytes()).hexdigest()[:16]
    assert digest == DIGESTS[GENERATOR_VERSION], 'raise GENERATOR_VERSION'


def test_labels_are_noisy_at_edges_and_decode_to_the_truth():
    kept, right, near = [], [], []
    for seed in range(4):
        pair, truth = render_pair(*street_scene(np.random.default_rng(seed)))
        content = cv2.imencode('.jpg', pair, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        colors = cv2.imdecode(content, cv2.IMREAD_COLOR)[:, 256:]
        labels = CODEC.decode(colors)
        both = (labels != 255) & (truth != 255)
        kept.append((labels[truth != 255] != 255).mean())
        right.append((labels == truth)[both].mean())
        known = np.array(CITYSCAPES['palette'] + CITYSCAPES['void_palette'])
        near.append((colors[..., None, ::-1] == known).all(-1).any(-1).mean())
    assert np.mean(kept) > 0.9
    assert np.mean(right) > 0.98
    assert np.mean(near) < 0.9, 'labels without a trace of JPEG'


def test_same_seed_same_bytes_whatever_the_workers(tmp_path):
    for name, seed, workers in (('a', 3, 1), ('b', 3, 2), ('c', 4, 2)):
        run_tool(
            TOOL, 'synthetic', tmp_path / name, '--train', 3, '--val', 1, '--seed', seed,
            '--workers', workers, '--truth', tmp_path / f'{name}-truth',
        )  # fmt: skip
    a, b, c = (contents(tmp_path / name) for name in 'abc')
    assert set(a) == {'train/1.jpg', 'train/2.jpg', 'train/3.jpg', 'val/1.jpg'}
    assert a == b
    assert not set(a.values()) & set(c.values())
    assert len(set(a.values())) == 4
    truth = contents(tmp_path / 'a-truth')
    assert set(truth) == {name.replace('.jpg', '.png') for name in a}
    labels = cv2.imread(str(tmp_path / 'a-truth' / 'val' / '1.png'), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (256, 256) and set(np.unique(labels)) <= {*range(19), 255}
    assert cv2.imread(str(tmp_path / 'a' / 'val' / '1.jpg')).shape == (256, 512, 3)


def test_interrupted_run_leaves_whole_files_and_goes_on(tmp_path):
    command = [sys.executable, TOOL, 'synthetic', tmp_path / 'a', '--train', '200', '--val', '0',
               '--workers', '2']  # fmt: skip
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job starts with SIGINT ignored; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while len(contents(tmp_path / 'a')) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip().splitlines()[-1].endswith('the same command goes on from here')
    assert 'Traceback' not in stderr
    made = contents(tmp_path / 'a')
    assert 3 <= len(made) < 200
    for name in made:
        assert cv2.imread(str(tmp_path / 'a' / name)).shape == (256, 512, 3)
    count = len(made) + 1
    run_tool(TOOL, 'synthetic', tmp_path / 'a', '--train', count, '--val', 0)
    again = contents(tmp_path / 'a')
    assert len(again) >= count
    assert all(again[name] == content for name, content in made.items())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--train', 0, '--val', 0], 'nothing to make'),
        (['--train', -1], "'-1' is no whole number of 0 or more"),
        (['--train', 1, '--val', 0, '--seed', 1], 'Give another folder, or the same seed'),
    ],
    ids=['nothing', 'negative', 'other seed'],
)
def test_bad_arguments_end_in_one_line(tmp_path, arguments, message):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / '1.jpg').write_bytes(b'')
    (tmp_path / '.synthetic.json').write_text(json.dumps(dict(seed=0, generator=1)))
    output = run_tool(TOOL, 'synthetic', tmp_path, *arguments, status=2)
    assert message in output.strip().splitlines()[-1]
    assert 'Traceback' not in output


def test_a_folder_of_other_pictures_is_left_alone(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'mine.jpg').write_bytes(b'')
    output = run_tool(TOOL, 'synthetic', tmp_path, '--train', 1, '--val', 0, status=2)
    assert 'mine.jpg was not made by this tool' in output
    assert [path.name for path in (tmp_path / 'train').iterdir()] == ['mine.jpg']
