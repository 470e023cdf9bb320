"""Pair files with bytes changed, lost and doubled."""

from collections import Counter

import pytest
from helpers.pairs import build, write_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pspnet_plugin.datasets.bad_pairs import BadPair

BYTES, COUNTS = st.binary(min_size=1, max_size=16), st.integers(1, 64)
# The values of each kind of edit, and what becomes of a file by one, before and from its place.
KINDS = dict(
    change=(BYTES, lambda head, tail, value: head + value + tail[len(value) :]),
    insert=(BYTES, lambda head, tail, value: head + value + tail),
    delete=(COUNTS, lambda head, tail, count: head + tail[count:]),
    double=(COUNTS, lambda head, tail, count: head + tail[:count] + tail),
    flip=(st.integers(0, 7), lambda head, tail, bit: head + flip(tail[:1], bit) + tail[1:]),
    truncate=(st.none(), lambda head, tail, _: head),
)
PLACES = st.one_of(st.floats(0, 1), st.integers(0, 63))  # share of the file, or one of its bytes
EDITS = st.one_of(*(st.tuples(st.just(k), PLACES, values) for k, (values, _) in KINDS.items()))


def flip(content: bytes, bit: int) -> bytes:
    return bytes(byte ^ 1 << bit for byte in content)


def mutate(content: bytes, edits: list[tuple]) -> bytes:
    for kind, place, value in edits:
        at = int(place * len(content)) if isinstance(place, float) else place
        content = KINDS[kind][1](content[:at], content[at:], value)
    return content


@pytest.mark.parametrize(
    ('suffix', 'rule'),
    [('jpg', 'edge_aware'), ('png', 'nearest'), ('bmp', 'edge_aware'), ('webp', 'nearest')],
)
def test_mutated_files_give_classes_or_an_error(suffix, rule, tmp_path):
    """Neither crash nor hang, nor an index that is no class; 4 x 500 files."""
    write_pair(tmp_path / 'train' / '1.png', height=24, width=24)
    dataset = build(tmp_path, decode=dict(rule=rule, min_explained=0))
    path = tmp_path / 'train' / f'm.{suffix}'
    Image.open(tmp_path / 'train' / '1.png').save(path)
    whole, outcomes = path.read_bytes(), Counter()

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
