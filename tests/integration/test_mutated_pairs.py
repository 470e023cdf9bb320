"""Pair files with bytes changed, lost and doubled."""

from collections import Counter

import numpy as np
import pytest
from helpers.pairs import build, coloured, label_map, photo, write_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pspnet_plugin.datasets.bad_pairs import BadPair

# Where an edit is made, as a share of the file, or in its first bytes; how many bytes it is about.
PLACES = st.one_of(st.floats(0, 1), st.integers(0, 63))
EDITS = st.one_of(
    st.tuples(st.just('change'), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just('put in'), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just('cut out'), PLACES, st.integers(1, 64)),
    st.tuples(st.just('double'), PLACES, st.integers(1, 64)),
    st.tuples(st.just('flip a bit'), PLACES, st.integers(0, 7)),
    st.tuples(st.just('end'), PLACES, st.none()),
)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp'])
@pytest.mark.parametrize('rule', ['nearest', 'edge_aware'])
def test_thousands_of_mutated_files_give_classes_or_an_error(suffix, rule, tmp_path):
    """Neither crash nor hang, nor an index that is no class; 8 x 500 files."""
    write_pair(tmp_path / 'train' / '1.png', height=24, width=24)
    dataset = build(tmp_path, decode=dict(rule=rule, min_explained=0))
    path = tmp_path / 'train' / f'm.{suffix}'
    picture = np.hstack([photo(24, 24), coloured(label_map(24, 24))])
    Image.fromarray(picture[..., ::-1]).save(path)
    whole = path.read_bytes()
    met = Counter()

    @settings(max_examples=500, deadline=5000, derandomize=True, database=None)
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def read(edits):
        path.write_bytes(mutated(whole, edits))
        try:
            dataset._read(str(path))
        except BadPair as error:
            assert str(path) in str(error)
            met['refused'] += 1
            return
        (tmp_path / 'train' / '1.png').write_bytes(path.read_bytes())
        labels = dataset[0]['data_samples'].gt_sem_seg.data
        assert ((labels < 19) | (labels == 255)).all()
        met['read'] += 1

    read()
    assert met.total() >= 500
    assert met['refused'] > 20 and met['read'] > (0 if suffix == 'png' else 20), met  # PNG has sums


def mutated(content: bytes, edits: list[tuple]) -> bytes:
    """A file after some edits."""
    data = bytearray(content)
    for kind, place, what in edits:
        at = min(int(place * len(data)) if isinstance(place, float) else place, len(data))
        if kind == 'change':
            data[at : at + len(what)] = what
        elif kind == 'put in':
            data[at:at] = what
        elif kind == 'cut out':
            del data[at : at + what]
        elif kind == 'double':
            data[at:at] = data[at : at + what]
        elif kind == 'flip a bit' and at < len(data):
            data[at] ^= 1 << what
        elif kind == 'end':
            del data[at:]
    return bytes(data)
