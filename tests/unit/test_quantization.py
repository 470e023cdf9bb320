"""Networks in int8: how close they are, and which layers stay in float."""

from collections import Counter
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.onnx_files import layered_onnx, small_onnx
from helpers.pairs import photo
from onnx import numpy_helper

from pspnet_plugin import Predictor
from pspnet_plugin.apis.export import exporters
from pspnet_plugin.apis.export.quantization import label_channels_last, quantize


def scene(seed):
    """A smooth photo, whose regions are larger than the stride."""
    return np.kron(photo(8, 12, seed=seed), np.ones((8, 8, 1), np.uint8))


def reads(count=24, truth_of=None):
    return [
        lambda seed=seed: (scene(seed), truth_of(scene(seed)) if truth_of else None)
        for seed in range(count)
    ]


def test_an_int8_network_labels_as_its_float_form(tmp_path):
    source = layered_onnx(tmp_path / 'float.onnx')
    result = quantize(source, tmp_path / 'int8.onnx', reads(), max_loss=5)
    model = onnx.load(tmp_path / 'int8.onnx')
    count = Counter(node.op_type for node in model.graph.node)
    assert count['QuantizeLinear'] and count['DequantizeLinear']
    stored = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert stored == {onnx.TensorProto.INT8}
    one, other = (Predictor(tmp_path / name) for name in ('float.onnx', 'int8.onnx'))
    assert other.classes == one.classes and other.palette.tolist() == one.palette.tolist()
    changed = []
    for seed in range(1, 24, 2):
        expected, found = one(scene(seed)), other(scene(seed))
        assert len(np.unique(expected.labels)) > 1
        changed.append((found.labels != expected.labels).mean())
        same = found.labels == expected.labels
        difference = abs(found.confidence - expected.confidence)[same]
        assert difference.max() > 0 and difference.mean() < 0.02
    assert result.loss == pytest.approx(100 * np.mean(changed)) and 0 < result.loss < 5
    assert not result.in_float and not result.by_truth and result.speed > 0


def test_the_loss_is_in_points_of_miou_where_the_truth_is_known(tmp_path):
    source = layered_onnx(tmp_path / 'float.onnx')
    network = Predictor(source)

    def truth_of(image):
        return network(image).labels

    result = quantize(source, tmp_path / 'int8.onnx', reads(truth_of=truth_of), max_loss=50)
    changed = quantize(source, tmp_path / 'other.onnx', reads(), max_loss=50)
    assert result.by_truth and result.loss > changed.loss > 0  # of union, not of all pixels


def test_layers_that_lose_too_much_stay_in_float(tmp_path):
    plain = layered_onnx(tmp_path / 'plain.onnx')
    spoiled = layered_onnx(tmp_path / 'spoiled.onnx', outlier=1000)
    write = partial(quantize, target=tmp_path / 'int8.onnx', reads=reads())
    assert write(spoiled, max_loss=100).loss > 3 * write(plain, max_loss=100).loss
    result = write(spoiled, max_loss=3)
    assert result.in_float and {*result.in_float} <= {'first', 'second', 'third'}
    kept = [n for n in onnx.load(tmp_path / 'int8.onnx').graph.node if n.name in result.in_float]
    assert len(kept) == len(result.in_float)


def test_a_graph_with_another_end_is_left(tmp_path):
    model = ir.load(small_onnx(tmp_path / 'net.onnx'))
    before = [node.op_type for node in model.graph]
    label_channels_last(model.graph)
    assert [node.op_type for node in model.graph] == before


def test_products_of_large_constants_are_computed_before_a_file_is_written():
    large = numpy_helper.from_array(np.ones((200, 200)), 'large')  # float64, beyond usual limits
    info = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node('MatMul', ['large', 'large'], ['product']),
        onnx.helper.make_node('Cast', ['product'], ['single'], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node('Add', ['x', 'single'], ['y']),
    ]
    sides = [200, 200]
    ends = [[info(name, onnx.TensorProto.FLOAT, sides)] for name in 'xy']
    graph = onnx.helper.make_graph(nodes, 'net', *ends, [large])
    model = ir.from_proto(onnx.helper.make_model(graph, ir_version=10))
    exporters._fold(model)
    assert [node.op_type for node in model.graph] == ['Add']
