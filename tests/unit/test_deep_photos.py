"""Photos of 16 bits a channel are scaled by the bits of their values in every tool."""

import json

import cv2
import numpy as np
import pytest
from helpers.onnx_files import small_onnx
from helpers.pairs import photo
from helpers.predictors import EchoNetwork, predictor_of
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

from pspnet_plugin import Predictor
from pspnet_plugin.apis import BadImage
from pspnet_plugin.apis.loading import trained_bits
from pspnet_plugin.toolkit.web.uploads import open_upload

DEEP = photo(24, 36).astype(np.uint16) * 16  # 12 bits
SCALED = np.rint(DEEP * (255 / 4095)).astype(np.uint8)


@pytest.fixture(params=['1.png', '1.tif'])
def path(request, tmp_path):
    cv2.imwrite(str(tmp_path / request.param), DEEP)
    return tmp_path / request.param


def test_the_transform_of_a_training(path):
    load = TRANSFORMS.build(dict(type='LoadDeepImageFromFile', bits=12))
    record = load(dict(img_path=str(path)))
    assert (record['img'] == SCALED).all() and record['ori_shape'] == (24, 36)
    with pytest.raises(ValueError, match=path.name):
        TRANSFORMS.build(dict(type='LoadDeepImageFromFile', bits=9))(dict(img_path=str(path)))


def test_the_predictor(path):
    with pytest.raises(BadImage, match=f'{path.name}.*--bits'):
        predictor_of(EchoNetwork())(path)
    for bits in (12, (0, 4095)):
        assert (predictor_of(EchoNetwork(), bits=bits)(path).photo == SCALED).all()


@pytest.mark.parametrize('bits', [12, [0, 4095]])
def test_bits_of_a_training_are_those_of_its_predictions(path, tmp_path, bits):
    steps = [dict(type='LoadDeepImageFromFile', bits=bits), dict(type='PackSegInputs')]
    found = trained_bits(Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps)))))
    assert found == (12 if bits == 12 else (0, 4095))
    predictor = Predictor(small_onnx(tmp_path / 'net.onnx', bits=json.dumps(bits)))
    assert predictor.bits == found and (predictor(path).photo == SCALED).all()


def test_the_page_explains_and_takes_them_on_request(path):
    with pytest.raises(BadImage, match='16 bits'):
        open_upload(path.read_bytes(), max_side=64)
    assert (open_upload(path.read_bytes(), max_side=64, bits=12).photo == SCALED).all()
