"""Pair files with bytes changed, lost and doubled."""

from collections import Counter

import numpy as np
import pytest
from helpers.pairs import build, coloured, label_map, photo, write_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pspnet_plugin.datasets.bad_pairs import BadPair

# Place of an edit, as a share of the file or in its first bytes; and its bytes or their number.
PLACES = st.one_of(st.floats(0, 1), st.integers(0, 63))
EDITS = st.one_of(
    st.tuples(st.just('change'), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just('insert'), PLACES, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just('delete'), PLACES, st.integers(1, 64)),
    st.tuples(st.just('double'), PLACES, st.integers(1, 64)),
    st.tuples(st.just('flip a bit'), PLACES, st.integers(0, 7)),
    st.tuples(st.just('truncate'), PLACES, st.none()),
)


@pytest.mark.parametrize(
    ('suffix', 'rule'),
    [('jpg', 'edge_aware'), ('png', 'nearest'), ('bmp', 'edge_aware'), ('webp', 'nearest')],
)
def test_mutated_files_give_classes_or_an_error(suffix, rule, tmp_path):
    """Neither crash nor hang, nor an index that is no class; 4 x 500 files."""
    write_pair(tmp_path / 'train' / '1.png', height=24, width=24)
    dataset = build(tmp_path, decode=dict(rule=rule, min_explained=0))
    path = tmp_path / 'train' / f'm.{suffix}'
    image = np.hstack([photo(24, 24), coloured(label_map(24, 24))])
    Image.fromarray(image[..., ::-1]).save(path)
    whole = path.read_bytes()
    outcomes = Counter()

    @settings(max_examples=500, deadline=5000, derandomize=True, database=None)
    @given(st.lists(EDITS, min_size=1, max_size=4))
    def read(edits):
        path.write_bytes(mutate(whole, edits))
        try:
            dataset._read(str(path))
        except BadPair as error:
            assert str(path) in str(error)
            outcomes['refused'] += 1
            return
        (tmp_path / 'train' / '1.png').write_bytes(path.read_bytes())
        labels = dataset[0]['data_samples'].gt_sem_seg.data
        assert ((labels < 19) | (labels == 255)).all()
        outcomes['read'] += 1

    read()
    assert outcomes.total() >= 500
    assert outcomes['refused'] > 20
    assert outcomes['read'] > (0 if suffix == 'png' else 20)  # PNG has checksums


def mutate(content: bytes, edits: list[tuple]) -> bytes:
    """Return a file after some edits."""
    data = bytearray(content)
    for kind, place, value in edits:
        at = min(int(place * len(data)) if isinstance(place, float) else place, len(data))
        if kind == 'change':
            data[at : at + len(value)] = value
        elif kind == 'insert':
            data[at:at] = value
        elif kind == 'delete':
            del data[at : at + value]
        elif kind == 'double':
            data[at:at] = data[at : at + value]
        elif kind == 'flip a bit' and at < len(data):
            data[at] ^= 1 << value
        elif kind == 'truncate':
            del data[at:]
    return bytes(data)
