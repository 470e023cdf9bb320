"""Small networks as ONNX files like those of ``export_onnx.py``, written without an exporter."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers.pairs import META

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
    metadata = dict(
        mean='[0, 0, 0]', std='[1, 1, 1]', classes=json.dumps(META['classes']),
        palette=json.dumps(META['palette']), channel_order='RGB', normalization='inside',
    ) | changes  # fmt: skip
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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=9)
    helper.set_model_props(model, {k: v for k, v in metadata.items() if v is not None})
    onnx.save(model, path)
    return path
