"""Exported files in the runtimes of others: OpenVINO and OpenCV's."""

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.exports import NETWORKS, build, exported
from helpers.onnx_files import METADATA

from benchmarks.speeds import openvino_core
from pspnet_plugin.apis.export.comparison import sample_images
from pspnet_plugin.apis.export.quantization import quantize

SIZE = (128, 256)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A file of one size, which OpenCV needs, and one image with its labels by onnxruntime."""
    path = tmp_path_factory.mktemp('network') / 'net.onnx'
    run = exported(build(NETWORKS['ours']), path, dynamic=False, size=SIZE)
    image = sample_images((1, *SIZE))
    labels = run(image)[0].numpy()
    assert len(np.unique(labels)) > 2
    return path, image.numpy(), labels


def test_opencv_labels_as_onnxruntime(network):
    path, image, labels = network
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(image)
    found = net.forward('index_map')
    assert found.dtype == np.uint8
    assert (found.reshape(labels.shape) == labels).mean() >= 0.999


@pytest.mark.parametrize(('precision', 'least'), [('f32', 0.999), ('bf16', 0.95)])
def test_openvino_labels_as_onnxruntime(network, precision, least):
    path, image, labels = network
    found = in_openvino(path, image, INFERENCE_PRECISION_HINT=precision)
    assert found.dtype == np.uint8 and (found == labels).mean() >= least


def test_openvino_runs_int8_as_onnxruntime(network, tmp_path):
    path, image, _ = network
    source, int8 = tmp_path / 'float.onnx', tmp_path / 'int8.onnx'
    model = onnx.load(path)
    onnx.helper.set_model_props(model, METADATA)
    onnx.save(model, source)
    picture = image[0].transpose(1, 2, 0)
    quantize(source, int8, [lambda: (picture, None), lambda: (picture[::-1], None)], max_loss=99)
    session = onnxruntime.InferenceSession(str(int8), providers=['CPUExecutionProvider'])
    (labels,) = session.run(['index_map'], {'picture': image})
    found = in_openvino(int8, image, INFERENCE_PRECISION_HINT='f32')
    assert len(np.unique(labels)) > 2 and (found == labels).mean() >= 0.95


def in_openvino(path, image, **options):
    core = openvino_core()
    compiled = core.compile_model(core.read_model(path), 'CPU', options)
    return compiled({'picture': image})['index_map']
