"""``tools/predict.py`` on videos."""

import itertools

import cv2
import pytest
from conftest import load_tool, photo
from label_files import read
from mmseg.apis import inference_model, init_model

from pspnet_plugin.prediction.networks import TorchNetwork
from pspnet_plugin.prediction.sources import BadPicture, find_sources

main = load_tool('predict.py').main


def write_film(path, frames: int) -> None:
    """A video of that many unlike frames of 96x64."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (96, 64))
    for i in range(frames):
        film.write(cv2.resize(photo(8, 12, seed=i), (96, 64)))
    film.release()


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


def test_frames_that_were_left_out_are_made_up_for(network, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'drive.mp4'
    write_film(path, 4)
    label, calls = TorchNetwork.label, []

    def fails_once(self, photos):
        calls.append(1)
        if len(calls) == 2:
            raise BadPicture('does not fit')
        return label(self, photos)

    monkeypatch.setattr(TorchNetwork, 'label', fails_once)
    arguments = [str(path), *network, '--out', str(tmp_path / 'out'), '--save', 'index']
    assert main(arguments) == 1
    assert 'drive/000002: does not fit' in capsys.readouterr().err
    assert main(arguments) == 0 and main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count('1 of 1 files are labelled already') == 1
    assert len(list((tmp_path / 'out/index/drive').iterdir())) == 4 and len(calls) == 8


def test_photos_named_as_frames_are_refused(tmp_path):
    for name in ('drive.mp4', 'drive/000001.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    with pytest.raises(
        ValueError, match=r'000001\.jpg and a frame of .*drive\.mp4 might become one'
    ):
        find_sources([str(tmp_path)])
