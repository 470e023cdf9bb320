"""Generated street scenes and their pairs."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from helpers.label_files import contents
from helpers.pairs import CITYSCAPES

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.toolkit.synthetic import GENERATOR_VERSION, render_pair, street_scene

# Digest of the labels of the first scenes, by the version of the generator.
DIGESTS = {1: '2ff4bb0f01800408'}


def test_all_classes_and_void_colours_occur():
    names = [*CITYSCAPES['classes'], *map(tuple, CITYSCAPES['void_palette'])]
    scenes = np.zeros(len(names), int)
    for seed in range(40):
        _, labels = street_scene(np.random.default_rng(seed))
        assert labels.max() < len(names)
        scenes += np.bincount(labels.ravel(), minlength=len(names)) > 0
    counts = dict(zip(names, scenes.tolist(), strict=True))
    assert min(counts.values()) > 0, counts
    assert scenes[:19].min() >= 10, counts


def test_scenes_are_those_of_their_generator_s_version():
    """A directory of pairs is not resumed by a generator of other scenes."""
    labels = [street_scene(np.random.default_rng(seed))[1] for seed in range(3)]
    digest = hashlib.sha256(np.stack(labels).tobytes()).hexdigest()[:16]
    assert digest == DIGESTS[GENERATOR_VERSION], 'raise GENERATOR_VERSION'


def test_labels_are_noisy_at_edges_and_decode_to_the_truth():
    decoder = LabelDecoder(CITYSCAPES['palette'], void_palette=CITYSCAPES['void_palette'])
    known = np.array(CITYSCAPES['palette'] + CITYSCAPES['void_palette'])
    kept, right, exact = [], [], []
    for seed in range(4):
        pair, truth = render_pair(*street_scene(np.random.default_rng(seed)))
        content = cv2.imencode('.jpg', pair, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        colors = cv2.imdecode(content, cv2.IMREAD_COLOR)[:, 256:]
        labels = decoder.decode(colors)
        both = (labels != 255) & (truth != 255)
        kept.append((labels[truth != 255] != 255).mean())
        right.append((labels == truth)[both].mean())
        exact.append((colors[..., None, ::-1] == known).all(-1).any(-1).mean())
    assert np.mean(kept) > 0.9
    assert np.mean(right) > 0.98
    assert np.mean(exact) < 0.9, 'labels without a trace of JPEG'


def test_pairs_and_their_truth_follow_from_the_seed(tmp_path, make):
    for name, seed in (('a', 3), ('b', 4)):
        make(
            'synthetic', tmp_path / name, '--train', 2, '--val', 1, '--seed', seed,
            '--truth', tmp_path / f'{name}-truth',
        )  # fmt: skip
    a, b, truth = (contents(tmp_path / name) for name in ('a', 'b', 'a-truth'))
    assert set(a) == {'train/1.jpg', 'train/2.jpg', 'val/1.jpg'}
    assert len({*a.values(), *b.values()}) == 6
    assert set(truth) == {name.replace('.jpg', '.png') for name in a}
    labels = cv2.imread(str(tmp_path / 'a-truth/val/1.png'), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (256, 256) and set(np.unique(labels)) <= {*range(19), 255}
    assert cv2.imread(str(tmp_path / 'a/val/1.jpg')).shape == (256, 512, 3)
    (tmp_path / 'a/train/2.jpg').unlink()
    make('synthetic', tmp_path / 'a', '--train', 2, '--val', 1, '--seed', 3)
    assert contents(tmp_path / 'a') == a


@pytest.mark.parametrize(
    ('arguments', 'carried'),
    [
        ('own --train 0 --val 0', ['--train 0', '--val 0']),
        ('own --train -1', ["'-1'"]),
        ('own --train 1 --val 0 --seed 1', ['seed 0']),
        ('foreign --train 1 --val 0', ['mine.jpg']),
    ],
)
def test_bad_arguments_end_in_one_line(tmp_path, make, monkeypatch, arguments, carried):
    monkeypatch.chdir(tmp_path)
    for name in ('own/train/1.jpg', 'foreign/train/mine.jpg'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b'')
    (tmp_path / 'own/.synthetic.json').write_text(json.dumps(dict(seed=0, generator=1)))
    before = sorted(tmp_path.rglob('*'))
    last = make('synthetic', *arguments.split(), status=2).strip().splitlines()[-1]
    assert all(text in last for text in carried) and sorted(tmp_path.rglob('*')) == before
