"""Writing a network in a form that needs no framework, and opening the file again.

Shape shorthand in this module: N: batch; K: output channels; H, W: height and width of the image.
"""

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import Tensor

from pspnet_plugin.apis.export.deployed_network import DeployedNetwork

# Formats, and the suffix of each.
FORMATS = {'onnx': '.onnx', 'torch_export': '.pt2', 'torchscript': '.pt'}
INPUT, OUTPUTS = 'picture', ('index_map', 'logits')
METADATA = 'metadata.json'
# Names of loggers that report on exports.
EXPORT_LOGGERS = ('torch', 'onnxscript', 'onnx_ir', 'keras', 'tensorflow', 'absl')
OPSET, OLDEST_OPSET = 20, 18  # default, and oldest that torch's exporter writes
UNLIMITED = 2**20  # limits of a size from here up are none
SMALL = 256  # elements of a tensor that is not worth a cast
LARGEST_HALF = float(np.finfo(np.float16).max)

Run = Callable[[Tensor], tuple[Tensor, Tensor]]


class ExportError(RuntimeError):
    """The exporter cannot write this network."""


def check_packages(form: str) -> None:
    """Raise ``ImportError`` if a package that a format needs is not installed."""
    try:
        for name in ('onnx', 'onnxruntime', 'onnxscript') if form == 'onnx' else ():
            importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; install it with pip install 'pspnet-plugin[deploy]'"
        ) from None


def write(
    network: DeployedNetwork,
    images: Tensor,
    path: Path,
    *,
    form: str,
    dynamic: bool,
    opset: int,
    metadata: dict,
    half: bool = False,
) -> int:
    """Export a network in eval mode; return the least H and W that the file takes.

    ``images``, (2, 3, H, W), are an example of what it takes. The batch is free in every format,
    and if ``dynamic``, H and W are too. ``metadata`` becomes ``metadata_props`` of ONNX, strings as
    they are, others as JSON, or the extra file ``METADATA``. If ``half``, an ONNX file stores its
    weights in float16; it still computes in float32. ``ExportError``: the exporter failed.
    """
    extra = {METADATA: json.dumps(metadata, indent=1)}
    try:
        with quiet(), torch.no_grad():
            if form == 'torchscript':
                traced = torch.jit.trace(network, (images,), check_trace=False)
                torch.jit.save(traced, str(path), _extra_files=extra)
                return 1
            program = _graph(network, images, dynamic=dynamic)
            least = _least_side(program)
            if form == 'torch_export':
                content = io.BytesIO()
                torch.export.save(program, content, extra_files=extra)
                path.write_bytes(content.getvalue())
                return least
            written = torch.onnx.export(
                program, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS),
                opset_version=opset, verbose=False,
            )  # fmt: skip
            assert written
            for one in written.model.graph:
                one.metadata_props.clear()  # the exporter's, with paths of this machine
            _fold(written.model)
            if half:
                _halve_weights(written.model.graph)
            texts = written.model.metadata_props
            for key, value in metadata.items():
                texts[key] = value if isinstance(value, str) else json.dumps(value)
            written.save(str(path), external_data=False)
            return 1  # ONNX checks no sizes
    except (OSError, MemoryError, ExportError):
        raise
    except Exception as error:  # of any part of the network
        text = ' '.join(str(error).split())
        raise ExportError(f'{type(error).__name__}: {text[:600]}') from error


def _fold(model: Any) -> None:
    """Compute what depends on no input in an ``onnx_ir.Model``, however large it is.

    The exporter leaves large matrices of the pyramid as products in float64, which some runtimes
    do not have.
    """
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    fold_constants(model, input_size_limit=UNLIMITED, output_size_limit=UNLIMITED)
    remove_unused_nodes(model)


def _halve_weights(graph: Any) -> None:
    """Store the weights of an ``onnx_ir.Graph`` in float16, each cast back before its first use.

    Runtimes do that once, when they open the file. Small tensors, and those with larger values than
    float16 has, are left.
    """
    import onnx_ir as ir

    first = graph[0]
    for name, value in list(graph.initializers.items()):
        array = value.const_value.numpy()
        if array.dtype != np.float32 or array.size < SMALL or abs(array).max() > LARGEST_HALF:
            continue
        tensor = ir.tensor(array.astype(np.float16), name=f'{name}_half')
        cast = ir.node(
            'Cast', [ir.val(tensor.name, const_value=tensor)], dict(to=ir.DataType.FLOAT)
        )
        value.replace_all_uses_with(cast.outputs[0])
        del graph.initializers[name]
        graph.register_initializer(cast.inputs[0])
        graph.insert_before(first, cast)


def _graph(
    network: DeployedNetwork, images: Tensor, *, dynamic: bool
) -> torch.export.ExportedProgram:
    """Trace the graph with a free batch and, if ``dynamic``, free sides."""
    free = torch.export.Dim.DYNAMIC
    shapes = ({0: free, 2: free, 3: free} if dynamic else {0: free},)
    try:
        return torch.export.export(network, (images,), dynamic_shapes=shapes, strict=False)
    except Exception:  # of many kinds; nn.MultiheadAttention, for example, would fix the batch
        return torch.export.export(network, (images,), dynamic_shapes=shapes, strict=True)


def _least_side(program: torch.export.ExportedProgram) -> int:
    """Return the least free height or width; ``ExportError`` if a free size has an upper limit."""
    (name,) = program.graph_signature.user_inputs
    (node,) = (node for node in program.graph.nodes if node.name == name)
    least = 1
    for axis, size in enumerate(node.meta['val'].shape):
        if isinstance(size, int):
            continue
        bounds = program.range_constraints[size.node.expr]
        if bounds.upper.is_finite and bounds.upper < UNLIMITED:
            what = ('batch', 'channels', 'height', 'width')[axis]
            raise ExportError(f'its graph takes a {what} of at most {bounds.upper}')
        if axis > 1:
            least = max(least, int(bounds.lower))
    return least


def open_exported(path: Path, *, form: str, threads: int = 0) -> Run:
    """Open a file of ``write``: from images (N, 3, H, W) to labels (N, H, W) and logits.

    ``threads`` is the number of onnxruntime's threads; 0: one a core.
    """
    if form != 'onnx':
        with quiet():
            torchscript = form == 'torchscript'
            return torch.jit.load(path) if torchscript else torch.export.load(path).module()
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        labels, logits = session.run(list(OUTPUTS), {INPUT: images.numpy()})
        return torch.from_numpy(labels), torch.from_numpy(logits)

    return run


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the reports of exporters; the framework's own warnings, and errors, stay."""
    # Not logging.disable: mmengine's loggers cache that they are off, and would stay so.
    names = (*EXPORT_LOGGERS, *logging.root.manager.loggerDict)
    exporting = [name for name in names if name.partition('.')[0] in EXPORT_LOGGERS]
    levels = {logging.getLogger(name): logging.ERROR for name in exporting}
    levels[MMLogger.get_current_instance()] = logging.WARNING
    before = {logger: logger.level for logger in levels}
    try:
        for logger, level in levels.items():
            logger.setLevel(level)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
