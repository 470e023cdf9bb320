"""Lazy records: a list of the records that their names make, in little memory."""

import copy
import pickle

import pytest
from helpers.pairs import build, write_pair

from pspnet_plugin.datasets.lazy_records import LazyRecords

NAMES = ['1.jpg', 'ü/2 b.jpg', '', '3.png', 'x\udcff.jpg']  # the last is no UTF-8 on disk


def record(name: str) -> dict:
    return dict(path=name)


@pytest.fixture
def records() -> LazyRecords:
    return LazyRecords(NAMES, record)


def test_they_are_the_records_of_the_names(records):
    assert len(records) == len(NAMES)
    assert list(records) == [record(name) for name in NAMES]
    assert records[-1] == record(NAMES[-1]) and record('3.png') in records
    assert records[0] is not records[0]
    for index in (len(NAMES), -len(NAMES) - 1):
        with pytest.raises(IndexError):
            records[index]
    assert list(LazyRecords([], record)) == []


@pytest.mark.parametrize('part', [slice(2), slice(-2, None), slice(None, None, -2), slice(9, 9)])
def test_slices_and_copies_are_records_too(records, part):
    for copied in (
        records[part],
        copy.deepcopy(records)[part],
        pickle.loads(pickle.dumps(records))[part],
    ):
        assert isinstance(copied, LazyRecords)
        assert list(copied) == [record(name) for name in NAMES[part]]


def test_a_record_takes_its_name_and_little_more():
    count = 10_000
    records = LazyRecords((f'{i}.jpg' for i in range(count)), record)
    assert len(pickle.dumps(records)) < 30 * count


@pytest.mark.parametrize('indices', [2, -2, [2, 0]], ids=str)
def test_subsets_are_those_of_the_framework(tmp_path, indices):
    for number in range(3):
        write_pair(tmp_path / 'train' / f'{number}.png', seed=number)
    dataset = build(tmp_path)
    paths = [dataset.get_data_info(i)['img_path'] for i in range(3)]
    wanted = paths[:2] if indices == 2 else paths[-2:] if indices == -2 else [paths[2], paths[0]]
    for subset in (build(tmp_path, indices=indices), dataset.get_subset(indices)):
        assert [subset.get_data_info(i)['img_path'] for i in range(len(subset))] == wanted
        assert subset.get_data_info(0)['sample_idx'] == 0
    dataset.get_subset_(indices)
    assert len(dataset) == 2 and dataset[1]['data_samples'].img_path == wanted[1]
