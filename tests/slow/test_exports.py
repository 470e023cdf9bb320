"""Exports of the architectures that the integration tests leave out: 10 to 40 s each."""

import pytest
from helpers.exports import NETWORKS, QUICK, check_dynamic_onnx


@pytest.mark.parametrize('name', [name for name in NETWORKS if name not in QUICK])
def test_dynamic_onnx_equals_the_framework(name, tmp_path):
    check_dynamic_onnx(name, tmp_path / 'net.onnx')
