"""Small networks as ONNX files like those of ``export_onnx.py``, written without an exporter."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers.pairs import META

METADATA = dict(
    mean='[0, 0, 0]', std='[1, 1, 1]', classes=json.dumps(META['classes']),
    palette=json.dumps(META['palette']), channel_order='RGB', normalization='inside',
)  # fmt: skip
SCALE, BIAS = (0.5, 1.0, 2.0), (0.3, 0.1, -0.2)


def logits_of(x: np.ndarray) -> np.ndarray:
    """(3, H, W) logits of a small network for (3, H, W) channels in its order."""
    scale, bias = (np.array(values, np.float32)[:, None, None] for values in (SCALE, BIAS))
    return x.astype(np.float32) * scale + bias


def small_onnx(path: Path, *, size=('height', 'width'), logits: bool = True, **changes) -> Path:
    """Write a network whose logits are the channels times ``SCALE`` plus ``BIAS``.

    Args:
        path: File to write.
        size: Height and width that it takes; names where they are free.
        logits: If false, it has no output ``logits``.
        **changes: Metadata; None removes a value.
    """
    metadata = METADATA | changes
    outside = metadata['normalization'] == 'outside'
    kind = TensorProto.FLOAT if outside else TensorProto.UINT8
    nodes = [
        helper.make_node('Cast', ['picture'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Mul', ['float', 'scale'], ['scaled']),
        helper.make_node('Add', ['scaled', 'bias'], ['logits']),
        helper.make_node('ArgMax', ['logits'], ['index'], axis=1, keepdims=0),
        helper.make_node('Cast', ['index'], ['index_map'], to=TensorProto.UINT8),
    ]
    constants = [
        numpy_helper.from_array(np.array(values, np.float32).reshape(1, 3, 1, 1), name)
        for name, values in (('scale', SCALE), ('bias', BIAS))
    ]
    info = helper.make_tensor_value_info
    outputs = [info('index_map', TensorProto.UINT8, ['batch', *size])]
    if logits:
        outputs.append(info('logits', TensorProto.FLOAT, ['batch', 3, *size]))
    graph = helper.make_graph(
        nodes, 'small', [info('picture', kind, ['batch', 3, *size])], outputs, constants
    )
    return _saved(graph, path, {k: v for k, v in metadata.items() if v is not None})


def layered_onnx(path: Path, *, outlier: float = 1) -> Path:
    """Write a network of three convolutions at stride 4 that takes 64x96 and ends as exported ones.

    Args:
        path: File to write.
        outlier: Factor of one channel between the first two layers, which the second divides by.
    """
    rng = np.random.default_rng(0)
    weights = [
        (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for shape in ((8, 3, 3, 3), (8, 8, 1, 1), (3, 8, 1, 1))
    ]
    weights[2] -= weights[2].mean(1, keepdims=True)  # else one class is likely everywhere
    weights[0][0] *= outlier
    weights[1][:, 0] /= outlier
    node = helper.make_node
    nodes = [
        node('Cast', ['picture'], ['float'], to=TensorProto.FLOAT),
        node('Sub', ['float', 'mean'], ['centred']),
        node('Div', ['centred', 'std'], ['x']),
        node('Conv', ['x', 'w0'], ['y0'], 'first', strides=[4, 4], pads=[1, 1, 1, 1]),
        node('Relu', ['y0'], ['r0']),
        node('Conv', ['r0', 'w1'], ['y1'], 'second'),
        node('Relu', ['y1'], ['r1']),
        node('Conv', ['r1', 'w2'], ['small'], 'third'),
        node(
            'Resize', ['small', '', '', 'size'], ['logits'], mode='linear',
            coordinate_transformation_mode='half_pixel',
        ),
        node('ArgMax', ['logits'], ['index'], axis=1, keepdims=0),
        node('Cast', ['index'], ['index_map'], to=TensorProto.UINT8),
    ]  # fmt: skip
    constants = dict(zip(('w0', 'w1', 'w2'), weights, strict=True)) | dict(
        mean=np.float32(128), std=np.float32(64), size=np.array([1, 3, 64, 96])
    )
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, 'layered', [info('picture', TensorProto.UINT8, [1, 3, 64, 96])],
        [info('index_map', TensorProto.UINT8, [1, 64, 96]),
         info('logits', TensorProto.FLOAT, [1, 3, 64, 96])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )  # fmt: skip
    return _saved(graph, path, METADATA)


def _saved(graph: onnx.GraphProto, path: Path, metadata: dict[str, str]) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
