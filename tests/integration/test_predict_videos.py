"""``tools/predict.py`` on videos."""

import itertools
import os
import re
from pathlib import Path

import cv2
import pytest
from helpers.label_files import read
from helpers.pairs import photo
from mmseg.apis import inference_model, init_model

from pspnet_plugin.apis import BadImage
from pspnet_plugin.apis.torch_network import TorchNetwork
from pspnet_plugin.toolkit.prediction import videos
from pspnet_plugin.toolkit.prediction.videos import count_frames


def write_video(path, frames: int, codec: str = 'mp4v') -> Path:
    """A video of that many unlike frames of 96x64."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (96, 64))
    for i in range(frames):
        video.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    video.release()
    return path


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
def test_a_video_is_labelled_frame_by_frame(network, tmp_path, save, predict):
    path = write_video(tmp_path / 'drive.mp4', 5)
    arguments = path, *network, '--save', *save
    predict(*arguments)
    frames = sorted((tmp_path / 'out/index/drive').glob('*.png'))
    assert [frame.name for frame in frames] == [f'{i:06}.png' for i in range(1, 6)]
    model = init_model(network[1], network[3], device='cpu')
    video, maps = cv2.VideoCapture(str(path)), [read(frame) for frame in frames]
    for labels in maps:
        expected = inference_model(model, video.read()[1]).pred_sem_seg.data[0].numpy()
        assert (labels == expected).mean() > 0.999
    assert all((one != other).any() for one, other in itertools.combinations(maps, 2))
    if 'overlay' in save:
        drawn = cv2.VideoCapture(str(tmp_path / 'out/overlay/drive.webm'))
        assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 5 and drawn.get(cv2.CAP_PROP_FPS) == 10
        assert drawn.get(cv2.CAP_PROP_FRAME_HEIGHT) == 64
    assert '1 of 1 files' in predict(*arguments)[0]


def test_skipped_frames_are_labelled_by_the_next_run(network, tmp_path, raises_at, predict):
    calls = raises_at(2, BadImage('does not fit'))
    arguments = write_video(tmp_path / 'drive.mp4', 4), *network, '--save', 'index'
    assert 'drive/000002' in predict(*arguments, status=1)[1]
    assert [predict(*arguments)[0].count('1 of 1 files') for _ in range(2)] == [0, 1]
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 4
    assert len(calls) == 5, 'only the frame that was missing is labelled again'


def test_an_interrupted_video_resumes_at_its_frame(network, tmp_path, raises_at, predict):
    calls = raises_at(4, KeyboardInterrupt())
    arguments = write_video(tmp_path / 'drive.mp4', 6), *network, '--save', 'index'
    predict(*arguments, status=130)
    made = len(list((tmp_path / 'out/index/drive').iterdir()))
    _, stderr = predict(*arguments)
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 6
    assert len(calls) == 4 + 6 - made and made
    assert f'{6 - made}/{6 - made} [' in stderr, 'the bar counts the rest'


def test_an_overlay_video_may_lack_a_frame(network, tmp_path, raises_at, predict):
    raises_at(4, BadImage('does not fit'))
    arguments = write_video(tmp_path / 'drive.mp4', 4), *network, '--save', 'overlay'
    assert 'drive/000004' in predict(*arguments, status=1)[1]
    video = tmp_path / 'out/overlay/drive.webm'
    assert [path.name for path in video.parent.iterdir()] == ['drive.webm']
    assert count_frames(video) == 3
    predict(*arguments)
    assert count_frames(video) == 4


@pytest.mark.browser
def test_an_overlay_video_plays_in_a_browser(network, tmp_path, predict, browser):
    path = write_video(tmp_path / 'drive.mp4', 12)
    predict(path, *network, '--save', 'overlay')
    page = browser.new_page()
    page.goto((tmp_path / 'out/overlay/drive.webm').as_uri())
    played = page.evaluate("""async () => {
        const video = document.querySelector('video');
        video.muted = true;
        await new Promise((ended, failed) => {
            video.onended = ended;
            video.onerror = () => failed(video.error.message);
            video.play().catch(failed);
        });
        return [video.videoWidth, video.duration];
    }""")
    assert played[0] == cv2.VideoCapture(str(tmp_path / 'out/overlay/drive.webm')).get(3) > 0
    assert played[1] == pytest.approx(1.2, abs=0.15)


@pytest.mark.parametrize('size', [(30, 18), (64, 48)])
def test_every_frame_of_an_overlay_video_is_there(tmp_path, size, capfd):
    writer = videos.VideoWriter(tmp_path / 'a.webm', rate=29.97, size=size)
    frames = [cv2.resize(photo(3, 4, seed=seed), size) for seed in range(7)]
    for frame in frames:
        writer.add(frame)
    writer.finish()
    assert capfd.readouterr().err == ''
    video = cv2.VideoCapture(str(tmp_path / 'a.webm'))
    for frame in frames:
        assert abs(video.read()[1].astype(int) - frame).mean() < 25
    assert not video.read()[0] and video.get(cv2.CAP_PROP_FPS) == pytest.approx(29.97, abs=0.1)


def test_videos_of_any_names_do_not_collide(network, tmp_path, predict):
    for name in ('drive.mp4', 'drive.part.mp4', f'{"x" * 250}.mp4'):
        write_video(tmp_path / 'video.mp4', 2).rename(tmp_path / name)
    predict(tmp_path, *network, '--save', 'overlay')
    write_video(tmp_path / 'drive.mp4', 3)
    predict(tmp_path, *network, '--save', 'overlay')
    made = {path.name: count_frames(path) for path in (tmp_path / 'out/overlay').iterdir()}
    assert made == {'drive.webm': 3, 'drive.part.webm': 2, f'{"x" * 250}.webm': 2}


def test_a_video_that_lacks_frames_on_the_disk_is_not_kept(network, tmp_path, monkeypatch, predict):
    path = write_video(tmp_path / 'drive.mp4', 3)
    monkeypatch.setattr(videos, 'count_frames', lambda path: 2)
    _, stderr = predict(path, *network, '--save', 'overlay', status=1)
    assert re.search(r'drive\.webm.* 2 of 3', stderr)
    assert not list((tmp_path / 'out/overlay').iterdir())


@pytest.mark.parametrize('save', ['index', 'overlay'])
def test_a_cut_off_video_is_named(save, network, tmp_path, predict):
    path = write_video(tmp_path / 'drive.avi', 20, codec='MJPG')
    assert count_frames(path) == 20
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for _ in range(2):
        _, stderr = predict(path, *network, '--save', save, status=1)
        assert re.search(rf'{path} .*\b\d+ of the 20\b', stderr)


def test_a_name_that_is_not_utf8(network, tmp_path, predict):
    write_video(tmp_path / 'drive.mp4', 2).rename(tmp_path / os.fsdecode(b'caf\xe9.mp4'))
    cv2.imwrite(str(tmp_path / 'plain.png'), photo(64, 64))
    (tmp_path / 'plain.png').rename(tmp_path / os.fsdecode(b'th\xe9.png'))
    _, stderr = predict(tmp_path, *network, '--save', 'index', 'shares', status=1)
    assert r'caf\udce9.mp4' in stderr
    assert b'\nth\xe9,' in (tmp_path / 'out/shares.csv').read_bytes()
    assert (tmp_path / 'out/index' / os.fsdecode(b'th\xe9.png')).is_file()
