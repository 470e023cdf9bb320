"""``Predictor``: the framework's labels, confidence, batches, sizes and worker threads."""

import threading
import time

import cv2
import numpy as np
import pytest
import torch
from helpers.pairs import CITYSCAPES, photo
from helpers.predictors import EchoNetwork, predictor_of, write_random
from helpers.programs import DEMO
from mmengine.config import Config
from mmseg.apis import inference_model, init_model

import pspnet_plugin
from pspnet_plugin import Predictor
from pspnet_plugin.apis import BadImage, torch_network


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> tuple[str, str]:
    """Config and checkpoint of the demo's network with random weights."""
    _, config, _, checkpoint = write_random(
        Config.fromfile(DEMO), tmp_path_factory.mktemp('random') / 'net',
        dataset_meta={key: CITYSCAPES[key] for key in ('classes', 'palette')},
    )  # fmt: skip
    return config, checkpoint


@pytest.fixture(scope='module')
def reference(files):
    return init_model(*files, device='cpu')


def test_one_import_is_enough():
    assert pspnet_plugin.Predictor is Predictor
    with pytest.raises(AttributeError, match='Nothing'):
        pspnet_plugin.Nothing  # noqa: B018


def test_labels_and_confidence_are_those_of_the_framework(files, reference, tmp_path):
    image = photo(64, 96)
    cv2.imwrite(str(tmp_path / 'photo.png'), image)
    predictor = Predictor(*files, device='cpu')
    for given in (image, tmp_path / 'photo.png', str(tmp_path / 'photo.png')):
        prediction = predictor(given)
        result = inference_model(reference, image)
        expected = result.pred_sem_seg.data[0].numpy()
        assert prediction.labels.dtype == np.uint8 and len(np.unique(expected)) > 1
        assert (prediction.labels == expected).mean() > 0.999
        probabilities = result.seg_logits.data.softmax(0)
        chosen = probabilities.gather(0, torch.from_numpy(expected)[None].long())[0].numpy()
        assert prediction.confidence.dtype == np.float32
        np.testing.assert_allclose(prediction.confidence, chosen, atol=1e-4)
        assert np.ptp(chosen) > 0.01
        assert (prediction.photo == image).all()


def test_confidence_of_one_channel_is_that_of_the_chosen_side(tmp_path):
    config = Config.fromfile(DEMO)
    config.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.5)
    config.model.decode_head.loss_decode = dict(type='CrossEntropyLoss', use_sigmoid=True)
    config.model.auxiliary_head = None
    write_random(config, tmp_path / 'one')
    predictor = Predictor(tmp_path / 'one.py', tmp_path / 'one.pth', device='cpu')
    prediction = predictor(photo(64, 96))
    assert predictor.classes == [] and prediction.confidence.min() >= 0.5
    with pytest.warns(UserWarning, match='dataset_meta'):
        model = init_model(str(tmp_path / 'one.py'), str(tmp_path / 'one.pth'), device='cpu')
    sigmoid = inference_model(model, photo(64, 96)).seg_logits.data[0].numpy()
    np.testing.assert_allclose(
        prediction.confidence, np.where(prediction.labels, sigmoid, 1 - sigmoid), atol=1e-5
    )
    for ask in (lambda: prediction.shares, prediction.overlay, predictor.require_classes):
        with pytest.raises(ValueError, match='classes'):
            ask()


def test_a_loaded_config_stays_as_it_is(files):
    config = Config.fromfile(files[0])
    before = config.pretty_text
    predictor = Predictor(config, files[1])
    assert config.pretty_text == before
    assert predictor.classes == list(CITYSCAPES['classes'])
    assert predictor.palette.tolist() == [list(color) for color in CITYSCAPES['palette']]


def test_a_list_is_labelled_in_batches_of_one_size():
    network = EchoNetwork()
    images = [photo(6, 8), photo(6, 8, seed=1), photo(6, 9), photo(6, 8, seed=2)]
    predictions = predictor_of(network)(images)
    assert network.sizes == [(2, 6, 8), (1, 6, 9), (1, 6, 8)]
    for prediction, image in zip(predictions, images, strict=True):
        assert (prediction.labels == image[..., 0]).all()
    assert predictor_of(network)([]) == []


def test_shares_and_overlay():
    image = np.zeros((40, 60, 3), np.uint8)
    image[:10, :, 0] = 1
    image[10] = 255  # no class
    prediction = predictor_of(EchoNetwork(classes=('road', 'sidewalk', 'building')))(image)
    assert prediction.shares == pytest.approx(dict(road=0.725, sidewalk=0.25, building=0))
    for opacity in (0, 0.5, 1):
        drawn = prediction.overlay(opacity)
        assert drawn.shape[0] == 40 and drawn.shape[1] > 60
        expected = np.array([232, 35, 244]) * opacity
        np.testing.assert_allclose(drawn[5, 5], expected, atol=1)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=['grey', 'alpha', 'float', 'empty'],
)
def test_arrays_that_are_no_photos_are_refused(image):
    with pytest.raises(ValueError, match=r'\(H, W, 3\) uint8'):
        predictor_of(EchoNetwork())(image)


def test_files_and_devices_that_cannot_be_used_are_named(files, tmp_path):
    with pytest.raises(FileNotFoundError, match='none.onnx'):
        Predictor(tmp_path / 'none.onnx')
    with pytest.raises(FileNotFoundError, match='none.pth'):
        Predictor(files[0], tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='checkpoint'):
        Predictor(files[0])
    with pytest.raises(ValueError, match='cuda:7'):
        Predictor(*files, device='cuda:7')
    (tmp_path / 'letter.jpg').write_bytes(b'no image')
    with pytest.raises(BadImage, match='letter.jpg'):
        predictor_of(EchoNetwork())(tmp_path / 'letter.jpg')


@pytest.mark.parametrize(
    ('trained_side', 'max_side', 'expected'),
    [
        (50, 'trained', (50, 25)),
        (None, 'trained', (200, 100)),
        (50, None, (200, 100)),
        (50, 0, (200, 100)),
        (50, 120, (120, 60)),
        (50, 200, (200, 100)),
    ],
)
def test_large_photos_are_shrunk_for_the_network(trained_side, max_side, expected):
    network, calls = EchoNetwork(), []
    network.trained_side = trained_side
    predictor = predictor_of(network, max_side=max_side, on_shrink=calls.append)
    image = photo(200, 100)
    for _ in range(2):
        prediction = predictor(image)
    assert network.sizes == [(1, *expected)] * 2
    assert prediction.labels.shape == prediction.confidence.shape == (200, 100)
    seen = cv2.resize(image, expected[::-1], interpolation=cv2.INTER_AREA)[..., 0]
    assert (
        prediction.labels == cv2.resize(seen, (100, 200), interpolation=cv2.INTER_NEAREST_EXACT)
    ).all()
    assert calls == ([] if expected == (200, 100) else [max(expected)])
    predictor(photo(40, 30))
    assert network.sizes[-1] == (1, 40, 30)


def test_input_pixels_are_those_of_the_pipeline(files):
    config = Config.fromfile(files[0])
    steps = config.test_dataloader.dataset.pipeline
    steps.insert(1, dict(type='Resize', scale=(400, 200), keep_ratio=True))
    network = Predictor(config, files[1], device='cpu').network
    assert network.input_pixels(100, 100) == 200 * 200
    assert network.input_pixels(100, 400) == 100 * 400


def test_a_photo_that_the_pipeline_does_not_take_is_bad(files):
    config = Config.fromfile(files[0])
    steps = config.test_dataloader.dataset.pipeline
    steps.insert(1, dict(type='Resize', scale=(2048, 1024), keep_ratio=True))
    with pytest.raises(BadImage, match='5000x1'):
        Predictor(config, files[1], max_side=None)(photo(1, 5000))


def test_more_classes_than_label_maps_hold(tmp_path):
    config = Config.fromfile(DEMO)
    config.model.decode_head.update(num_classes=300, loss_decode=dict(type='CrossEntropyLoss'))
    config.model.auxiliary_head = None
    write_random(config, tmp_path / 'many')
    with pytest.raises(ValueError, match='300 classes'):
        Predictor(tmp_path / 'many.py', tmp_path / 'many.pth')


def test_worker_threads_label_as_one_does(files, monkeypatch):
    threads, started = torch.get_num_threads(), []
    start = torch_network.TorchNetwork.start_worker
    monkeypatch.setattr(
        torch_network.TorchNetwork, 'start_worker', lambda self: started.append(1) or start(self)
    )
    batches = [[photo(64, 96, seed=i)] for i in range(3)]
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            futures = Predictor(*files, device='cpu').label_batches(iter(batches))
            results.append([future.result()[0] for future in futures])
        finally:
            torch.set_num_threads(threads)
        assert len(started) == (0 if count == 1 else 2)
    for one, other in zip(*results, strict=True):
        assert (one == other).mean() > 0.999 and len(np.unique(one)) > 1


def test_small_batches_are_labelled_side_by_side_and_a_large_one_alone():
    together, running = threading.Barrier(2, timeout=20), []

    class Meeting(EchoNetwork):
        def start_worker(self):
            workers.append(threading.get_ident())

        def run(self, photos):
            running.append(1)
            if len(photos[0]) == 4:
                assert threading.get_ident() in workers
                together.wait()
            else:
                assert len(running) == 1 and threading.current_thread() is threading.main_thread()
            running.pop()
            return super().run(photos)

    workers: list[int] = []
    small, large = np.zeros((4, 4, 3), np.uint8), np.zeros((600, 600, 3), np.uint8)
    batches = [[small], [small], [large], [small], [small]]
    futures = predictor_of(Meeting(workers=2)).label_batches(batches)
    assert [future.result()[0].shape[0] for future in futures] == [4, 4, 600, 4, 4]


@pytest.mark.parametrize('workers', [1, 3])
def test_batches_keep_their_order_and_errors_their_place(workers):
    class Uneven(EchoNetwork):
        def run(self, photos):
            time.sleep(0.02 / (1 + int(photos[0][0, 0, 0])))  # the later, the sooner it is done
            if photos[0][0, 0, 0] == 2:
                raise BadImage('two')
            return super().run(photos)

    batches = [[np.full((2, 2, 3), i, np.uint8)] for i in range(6)]
    futures = list(predictor_of(Uneven(workers)).label_batches(batches))
    with pytest.raises(BadImage, match='two'):
        futures.pop(2).result()
    assert [future.result()[0][0, 0] for future in futures] == [0, 1, 3, 4, 5]
