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

from pspnet_plugin.apis import BadImage
from pspnet_plugin.apis.torch_network import TorchNetwork
from pspnet_plugin.toolkit.prediction import videos
from pspnet_plugin.toolkit.prediction.videos import count_frames

main = load_tool('predict.py').main


def write_video(path, frames: int) -> None:
    """A video of that many unlike frames of 96x64."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (96, 64))
    for i in range(frames):
        video.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    video.release()


@pytest.fixture
def raises_at(monkeypatch):
    """Makes the network raise at a call, whose number from 1 is given; returns the calls."""
    run, calls = TorchNetwork.run, []

    def start(number: int, error: BaseException) -> list:
        def failing(self, photos):
            calls.append(1)
            if len(calls) == number:
                raise error
            return run(self, photos)

        monkeypatch.setattr(TorchNetwork, 'run', failing)
        monkeypatch.setattr(TorchNetwork, 'input_pixels', lambda *size: 10**9)  # no workers
        return calls

    return start


@pytest.mark.parametrize('save', [['index', 'overlay'], ['index']], ids=['overlay video', 'frames'])
def test_a_video_is_labelled_frame_by_frame(network, tmp_path, save, capsys):
    path = tmp_path / 'drive.mp4'
    write_video(path, 5)
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
        drawn = cv2.VideoCapture(str(tmp_path / 'out/overlay/drive.mp4'))
        assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and drawn.get(cv2.CAP_PROP_FPS) == 10
        assert drawn.get(cv2.CAP_PROP_FRAME_HEIGHT) == 64
    capsys.readouterr()
    assert main(arguments) == 0
    assert '1 of 1 files' in capsys.readouterr().out


def test_skipped_frames_are_labelled_by_the_next_run(network, tmp_path, raises_at, capsys):
    path = tmp_path / 'drive.mp4'
    write_video(path, 4)
    calls = raises_at(2, BadImage('does not fit'))
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 1
    assert 'drive/000002' in capsys.readouterr().err
    assert main(arguments) == 0 and main(arguments) == 0
    assert capsys.readouterr().out.count('1 of 1 files') == 1
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 4
    assert len(calls) == 5, 'only the frame that was missing is labelled again'


def test_an_interrupted_video_resumes_at_its_frame(network, tmp_path, raises_at, capsys):
    path = tmp_path / 'drive.mp4'
    write_video(path, 6)
    calls = raises_at(4, KeyboardInterrupt())
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 130
    made = len(list((tmp_path / 'out/index/drive').iterdir()))
    assert main(arguments) == 0
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 6
    assert len(calls) == 4 + 6 - made and made
    assert f'{6 - made}/{6 - made} [' in capsys.readouterr().err, 'the bar counts the rest'


def test_an_overlay_video_may_lack_a_frame(network, tmp_path, raises_at, capsys):
    path = tmp_path / 'drive.mp4'
    write_video(path, 4)
    raises_at(4, BadImage('does not fit'))
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'overlay']
    assert main(arguments) == 1
    assert 'drive/000004' in capsys.readouterr().err
    video = tmp_path / 'out/overlay/drive.mp4'
    assert [path.name for path in video.parent.iterdir()] == ['drive.mp4']
    assert count_frames(video) == 3
    assert main(arguments) == 0 and count_frames(video) == 4


def test_videos_of_any_names_do_not_collide(network, tmp_path):
    for name in ('drive.mp4', 'drive.part.mp4', f'{"x" * 250}.mp4'):
        write_video(tmp_path / 'video.mp4', 2)
        (tmp_path / 'video.mp4').rename(tmp_path / name)
    out = tmp_path / 'out'
    arguments = [str(tmp_path), *network, '--out', str(out), '--save', 'overlay']
    assert main(arguments) == 0
    write_video(tmp_path / 'drive.mp4', 3)
    assert main(arguments) == 0
    made = {path.name: count_frames(path) for path in (out / 'overlay').iterdir()}
    assert made == {'drive.mp4': 3, 'drive.part.mp4': 2, f'{"x" * 250}.mp4': 2}


def test_a_video_that_lacks_frames_on_the_disk_is_not_kept(network, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / 'drive.mp4', 3)
    monkeypatch.setattr(videos, 'count_frames', lambda path: 2)
    arguments = [str(tmp_path / 'drive.mp4'), *network, '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--save', 'overlay']) == 1
    assert re.search(r'drive\.mp4.* 2 of 3', capsys.readouterr().err)
    assert not list((tmp_path / 'out/overlay').iterdir())


@pytest.mark.parametrize('save', ['index', 'overlay'])
def test_a_cut_off_video_is_named(save, network, tmp_path, capsys):
    path = tmp_path / 'drive.avi'
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (96, 64))
    for i in range(20):
        video.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    video.release()
    assert count_frames(path) == 20
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', save]
    for _ in range(2):
        assert main(arguments) == 1
        assert re.search(rf'{path} .*\b\d+ of the 20\b', capsys.readouterr().err)


def test_a_name_that_is_not_utf8(network, tmp_path, capsys):
    path = tmp_path / os.fsdecode(b'caf\xe9.mp4')
    write_video(tmp_path / 'drive.mp4', 2)
    (tmp_path / 'drive.mp4').rename(path)
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    (tmp_path / 'plain.png').rename(tmp_path / os.fsdecode(b'th\xe9.png'))
    arguments = [str(tmp_path), *network, '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--save', 'index', 'shares']) == 1
    assert r'caf\udce9.mp4' in capsys.readouterr().err
    assert b'\nth\xe9,' in (tmp_path / 'out/shares.csv').read_bytes()
    assert (tmp_path / 'out/index' / os.fsdecode(b'th\xe9.png')).is_file()
