"""A folder of made pairs given again: what changed is redone, what broke off goes on."""

import json
import os

import pytest
from helpers.converters import kill_workers, run_without_rights
from helpers.label_files import contents, maps, save, write_photos
from helpers.pairs import META, label_map, photo
from helpers.programs import MAKE_PAIRS


@pytest.fixture
def sources(tmp_path, palette) -> list:
    """Arguments of ``folders`` for four photos and label maps; the third is OUT."""
    files = maps(4)
    write_photos(tmp_path / 'photos', files)
    for name, values in files.items():
        save(tmp_path / 'maps' / f'{name}.png', values)
    return [tmp_path / 'photos', tmp_path / 'maps', tmp_path / 'out', '--palette', palette]


def dates(out) -> dict:
    return {str(path.relative_to(out)): path.stat().st_ctime_ns for path in out.rglob('*.png')}


@pytest.mark.parametrize('kind', ['photos', 'maps'])
@pytest.mark.parametrize('when', [1e9, None, 4e9], ids=['older', 'now', 'in the future'])
def test_a_pair_is_redone_where_a_source_has_changed(tmp_path, make, sources, kind, when):
    out = tmp_path / 'out'
    os.utime(tmp_path / 'photos/train/3.png', (4e9, 4e9))
    make('folders', *sources)
    before, made = contents(out), dates(out)
    path = tmp_path / kind / 'train/1.png'
    save(path, photo(24, 40, seed=9) if kind == 'photos' else label_map(24, 40, classes=2, seed=9))
    if when:
        os.utime(path, (when, when))
    output = make('folders', *sources)
    assert '3 of 4 pairs are there already' in output
    after = contents(out)
    assert {name for name in before if after[name] != before[name]} == {'train/1.png'}
    again = dates(out)
    assert {name for name in made if again[name] != made[name]} == {'train/1.png'}
    assert '4 of 4 pairs are there already' in make('folders', *sources)


def test_a_source_that_became_bad_leaves_no_old_pair(tmp_path, make, sources):
    make('folders', *sources)
    (tmp_path / 'maps/train/1.png').write_bytes(b'')
    output = make('folders', *sources, status=1)
    assert 'maps/train/1.png: no picture, or cut off' in output
    assert '1 of 4 pairs could not be made' in output
    assert set(contents(tmp_path / 'out')) == {'train/0.png', 'val/2.png', 'train/3.png'}


def test_pairs_whose_photo_is_gone_are_named(tmp_path, make, sources):
    make('folders', *sources)
    (tmp_path / 'photos/train/1.png').rename(tmp_path / 'photos/train/9.png')
    output = make('folders', *sources, status=1)
    gone = tmp_path / 'out/train/1.png'
    assert f'pictures whose photo or label map is gone: 1, e.g. {gone}; remove them' in output
    assert 'photos without a label map: 1, left out: train/9' in output
    assert gone.exists()


def test_the_users_own_metainfo_is_left_alone(tmp_path, make, sources):
    own = tmp_path / 'out' / 'metainfo.json'
    own.parent.mkdir()
    own.write_text(json.dumps({**META, 'note': 'mine'}))
    before = own.read_bytes()
    output = make('folders', *sources[:3], '--palette', own, status=2)
    assert f'{own} was not made by this tool' in output
    assert own.read_bytes() == before and os.listdir(own.parent) == ['metainfo.json']


def test_the_metainfo_of_the_folder_itself_may_be_given_as_palette(tmp_path, make, sources):
    make('folders', *sources)
    own = tmp_path / 'out' / 'metainfo.json'
    before = own.read_bytes()
    make('folders', *sources[:3], '--palette', own)
    assert own.read_bytes() == before


@pytest.mark.parametrize('command', ['synthetic', 'folders'])
def test_killed_workers_end_it_in_one_line_and_it_goes_on(tmp_path, palette, make, command):
    out = tmp_path / 'out'
    if command == 'synthetic':
        arguments, options = [out], ['--val', 0, '--train']
    else:
        arguments, options = [tmp_path / 'photos', tmp_path / 'maps', out, '--palette', palette], []
        labels = {f'train/{i}': label_map(400, 400, classes=3) for i in range(60)}
        write_photos(tmp_path / 'photos', labels)
        for name, values in labels.items():
            save(tmp_path / 'maps' / f'{name}.png', values)
    many, few = ([500], [2]) if command == 'synthetic' else ([], [])
    stderr = kill_workers(
        MAKE_PAIRS, command, *arguments, *options, *many,
        ready=lambda: any(out.rglob('*.[pj][np]g')),
    )  # fmt: skip
    assert 'Traceback' not in stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith('make_pairs: stopped: a worker process was killed')
    assert 'The pairs made so far are whole' in last
    make(command, *arguments, *options, *few)
    assert len(contents(out)) >= 2
    assert not list(out.rglob('*.part'))


def test_folders_and_files_without_rights_are_named(tmp_path, sources):
    locked, closed, mine = tmp_path / 'locked', tmp_path / 'closed', tmp_path / 'maps/train/1.png'
    write_photos(closed, maps(1))
    locked.mkdir()
    output = run_without_rights(
        'dataset_converters/make_pairs.py',
        [
            (['folders', *sources[:2], locked / 'out', *sources[3:]], 2),
            (['synthetic', locked / 'out', '--train', 1], 2),
            (['folders', closed, *sources[1:]], 2),
            (['folders', *sources, '--workers', 1], 1),
        ],
        rights={locked: 0o555, closed / 'train': 0, mine: 0},
    )
    for folder in (locked / 'out', closed / 'train'):
        assert f'make_pairs: no right to use {folder};' in output
    assert f"Permission denied: '{mine}'" in output and '1 of 4 pairs could not be made' in output
    assert not list(locked.iterdir())
