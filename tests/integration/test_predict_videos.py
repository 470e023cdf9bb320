"""``tools/predict.py`` on videos."""

import itertools
import os
import re

import cv2
import pytest
from helpers.label_files import read
from helpers.pairs import photo
from helpers.programs import load_tool
from mmseg.apis import inference_model, init_model

from pspnet_plugin.apis.networks import TorchNetwork
from pspnet_plugin.apis.readers import count_frames
from pspnet_plugin.apis.sources import BadImage, find_sources
from pspnet_plugin.toolkit.prediction import videos as films

main = load_tool('predict.py').main


def write_film(path, frames: int) -> None:
    """A video of that many unlike frames of 96x64."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (96, 64))
    for i in range(frames):
        film.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    film.release()


@pytest.fixture
def raises_at(monkeypatch):
    """Makes the network raise at a call, whose number from 1 is given; returns the calls."""
    label, calls = TorchNetwork.label, []

    def start(number: int, error: BaseException) -> list:
        def labels(self, photos):
            calls.append(1)
            if len(calls) == number:
                raise error
            return label(self, photos)

        monkeypatch.setattr(TorchNetwork, 'label', labels)
        monkeypatch.setattr(TorchNetwork, 'seen', lambda *size: 10**9)  # no lanes
        return calls

    return start


@pytest.mark.parametrize('save', [['index', 'overlay'], ['index']], ids=['film', 'frames'])
def test_a_video_is_labelled_frame_by_frame(network, tmp_path, save, capsys):
    path = tmp_path / 'drive.mp4'
    write_film(path, 5)
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', *save]
    assert main(arguments) == 0
    frames = sorted((tmp_path / 'out/index/drive').glob('*.png'))
    assert [frame.name for frame in frames] == [f'{i:06}.png' for i in range(1, 6)]
    model = init_model(network[1], network[3], device='cpu')
    video, maps = cv2.VideoCapture(str(path)), [read(frame) for frame in frames]
    for labels in maps:
        expected = inference_model(model, video.read()[1]).pred_sem_seg.data[0].numpy()
        assert (labels == expected).mean() > 0.999
    assert all((one != other).any() for one, other in itertools.combinations(maps, 2))
    if 'overlay' in save:
        made = cv2.VideoCapture(str(tmp_path / 'out/overlay/drive.mp4'))
        assert made.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and made.get(cv2.CAP_PROP_FPS) == 10
        assert made.get(cv2.CAP_PROP_FRAME_HEIGHT) == 64
    capsys.readouterr()
    assert main(arguments) == 0
    assert '1 of 1 files are labelled already' in capsys.readouterr().out


def test_frames_that_were_left_out_are_made_up_for(network, tmp_path, raises_at, capsys):
    path = tmp_path / 'drive.mp4'
    write_film(path, 4)
    calls = raises_at(2, BadImage('does not fit'))
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 1
    assert 'drive/000002: does not fit' in capsys.readouterr().err
    assert main(arguments) == 0 and main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count('1 of 1 files are labelled already') == 1
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 4
    assert len(calls) == 5, 'only the frame that was missing is labelled again'


def test_an_interrupted_video_goes_on_where_it_was(network, tmp_path, raises_at, capsys):
    path = tmp_path / 'drive.mp4'
    write_film(path, 6)
    calls = raises_at(4, KeyboardInterrupt())
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 130
    made = len(list((tmp_path / 'out/index/drive').iterdir()))
    assert main(arguments) == 0
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 6
    assert len(calls) == 4 + 6 - made and made
    assert f'{6 - made}/{6 - made} [' in capsys.readouterr().err, 'the bar counts what is left'


def test_a_film_may_lack_a_frame(network, tmp_path, raises_at, capsys):
    path = tmp_path / 'drive.mp4'
    write_film(path, 4)
    raises_at(4, BadImage('does not fit'))
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'overlay']
    assert main(arguments) == 1
    assert 'drive/000004: does not fit' in capsys.readouterr().err
    film = tmp_path / 'out/overlay/drive.mp4'
    assert [made.name for made in film.parent.iterdir()] == ['drive.mp4']
    assert count_frames(film) == 3
    assert main(arguments) == 0 and count_frames(film) == 4


def test_films_are_in_no_others_way(network, tmp_path):
    for name in ('drive.mp4', 'drive.part.mp4', f'{"x" * 250}.mp4'):
        write_film(tmp_path / 'film.mp4', 2)
        (tmp_path / 'film.mp4').rename(tmp_path / name)
    out = tmp_path / 'out'
    arguments = [str(tmp_path), *network, '--out', str(out), '--save', 'overlay']
    assert main(arguments) == 0
    write_film(tmp_path / 'drive.mp4', 3)
    assert main(arguments) == 0
    made = {path.name: count_frames(path) for path in (out / 'overlay').iterdir()}
    assert made == {'drive.mp4': 3, 'drive.part.mp4': 2, f'{"x" * 250}.mp4': 2}


def test_a_film_that_could_not_be_written_whole_is_not_kept(network, tmp_path, monkeypatch, capsys):
    write_film(tmp_path / 'drive.mp4', 3)
    monkeypatch.setattr(films, 'count_frames', lambda path: 2)
    arguments = [str(tmp_path / 'drive.mp4'), *network, '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--save', 'overlay']) == 1
    assert 'drive.mp4: 2 of 3 frames could be written' in capsys.readouterr().err
    assert not list((tmp_path / 'out/overlay').iterdir())


@pytest.mark.parametrize('save', ['index', 'overlay'])
def test_a_cut_off_video_is_named(save, network, tmp_path, capsys):
    path = tmp_path / 'drive.avi'
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (96, 64))
    for i in range(20):
        film.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    film.release()
    assert count_frames(path) == 20
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', save]
    for _ in range(2):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert re.search(rf'{path} ends after \d+ of the 20 frames', said), said


def test_a_name_that_is_not_utf8(network, tmp_path, capsys):
    path = tmp_path / os.fsdecode(b'caf\xe9.mp4')
    write_film(tmp_path / 'drive.mp4', 2)
    (tmp_path / 'drive.mp4').rename(path)
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    (tmp_path / 'plain.png').rename(tmp_path / os.fsdecode(b'th\xe9.png'))
    arguments = [str(tmp_path), *network, '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--save', 'index', 'shares']) == 1
    assert 'has a name that is not UTF-8' in capsys.readouterr().err
    assert b'\nth\xe9,' in (tmp_path / 'out/shares.csv').read_bytes()
    assert (tmp_path / 'out/index' / os.fsdecode(b'th\xe9.png')).is_file()


def test_photos_named_as_frames_are_refused(tmp_path):
    for name in ('drive.mp4', 'drive/000001.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    with pytest.raises(
        ValueError, match=r'000001\.jpg and a frame of .*drive\.mp4 might become one'
    ):
        find_sources([str(tmp_path)])
