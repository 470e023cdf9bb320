"""Files that a command line names, and the names of their outputs."""

import pytest

from pspnet_plugin.toolkit.prediction.sources import find_sources


def names(*inputs, **options) -> list[str]:
    return [source.name for source in find_sources([str(path) for path in inputs], **options)]


def touch(root, *files):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_directories_and_patterns_name_their_photos(tmp_path):
    root = touch(tmp_path / 'street', 'day/2.png', 'day/10.png', 'grey.jpg', 'letter.txt')
    assert names(root) == ['day/2', 'day/10', 'grey']
    assert names(f'{root}/day/*.png', f'{root}/gr*.jpg') == ['2', '10', 'grey']
    for missing in ('none.jpg', '*.gif'):
        with pytest.raises(FileNotFoundError) as error:
            names(root / missing)
        assert missing in str(error.value)
    with pytest.raises(FileNotFoundError, match='empty'):
        (root / 'empty').mkdir()
        names(root / 'empty')


def test_links_are_followed_once_and_hidden_files_never(tmp_path):
    root = touch(
        tmp_path / 'root', 'a/x.png', '.thumbnails/x.png', 'frames.mp4/x.png', '.hidden.png'
    )
    touch(tmp_path / 'other', 'x.png')
    (root / 'linked').symlink_to(tmp_path / 'other')
    (root / 'a/round').symlink_to(root)
    assert names(root) == ['a/x', 'frames.mp4/x', 'linked/x']


def test_the_output_directory_is_no_input(tmp_path):
    root = touch(tmp_path / 'day', '0.png', 'out/x.png')
    assert names(root, without=root / 'out') == ['0']
    with pytest.raises(FileNotFoundError, match='out'):
        names(root / 'out/x.png', without=root / 'out')


@pytest.mark.parametrize(
    ('files', 'inputs'),
    [
        (['day/0.png', '0.png'], ['day', '.']),
        (['day/0.png', 'day/0.jpg'], ['day']),
        (['drive.mp4', 'drive/000001.jpg'], ['.']),
    ],
    ids=['directories', 'suffixes', 'frames'],
)
def test_files_whose_outputs_would_be_one_are_refused(files, inputs, tmp_path):
    touch(tmp_path, *files)
    with pytest.raises(ValueError) as error:
        names(*(tmp_path / name for name in inputs))
    assert all(str(tmp_path / name) in str(error.value) for name in files)
