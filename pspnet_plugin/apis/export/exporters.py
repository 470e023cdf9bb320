"""Writes a network in a form that needs no framework, and opens it again.

Shape shorthand in this module: N: batch; K: output channels; H, W: height and width of the picture.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from torch import Tensor

from pspnet_plugin.apis.export.deployed_network import DeployedNetwork

# The end that a file's name has to have.
FORMATS = {'onnx': '.onnx', 'torch_export': '.pt2', 'torchscript': '.pt'}
INPUT, OUTPUTS = 'picture', ('index_map', 'logits')
METADATA = 'metadata.json'
# Whose loggers speak of exports.
TALKERS = ('torch', 'onnxscript', 'onnx_ir', 'keras', 'tensorflow', 'absl')
OPSET = 20
SMALL = 2**20  # sizes beyond are no limit
OLDEST_OPSET = 18  # that torch's exporter writes

Run = Callable[[Tensor], tuple[Tensor, Tensor]]


class ExportError(RuntimeError):
    """The exporter cannot write this network."""


def check_packages(form: str) -> None:
    """Makes sure that what a format needs is installed.

    Raises:
        ImportError: it is not; the message says how to install it.
    """
    if form != 'onnx':
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed; install it with pip install 'pspnet-plugin[deploy]'"
        ) from None


def write(
    network: DeployedNetwork,
    picture: Tensor,
    path: Path,
    *,
    form: str,
    dynamic: bool,
    opset: int,
    metadata: dict,
) -> int:
    """Exports a network; the batch is free in every format.

    Args:
        network: In eval mode.
        picture: (2, 3, H, W), an example of what the file will take.
        path: File to write.
        form: One of ``FORMATS``.
        dynamic: Whether H and W are free too.
        opset: Of ONNX.
        metadata: Goes into the file: as ``metadata_props``, or as the extra file ``METADATA``;
            strings as they are, other values as JSON.

    Returns:
        The least H and W that the file takes, if they are free.

    Raises:
        ExportError: the exporter failed.
        OSError: the file cannot be written.
    """
    extra = {METADATA: json.dumps(metadata, indent=1)}
    try:
        with quiet(), torch.no_grad():
            if form == 'torchscript':
                traced = torch.jit.trace(network, (picture,), check_trace=False)
                torch.jit.save(traced, str(path), _extra_files=extra)
                return 1
            program = _graph(network, picture, dynamic=dynamic)
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
            for key, value in metadata.items():
                text = value if isinstance(value, str) else json.dumps(value)
                written.model.metadata_props[key] = text
            written.save(str(path), external_data=False)
            return 1  # it checks nothing
    except (OSError, MemoryError, ExportError):
        raise
    except Exception as error:  # exporters raise whatever a part of the network made them raise
        text = ' '.join(str(error).split())
        raise ExportError(f'{type(error).__name__}: {text[:600]}') from error


def _graph(
    network: DeployedNetwork, picture: Tensor, *, dynamic: bool
) -> torch.export.ExportedProgram:
    """The graph with a free batch and, if ``dynamic``, free sides."""
    free = torch.export.Dim.DYNAMIC
    shapes = ({0: free, 2: free, 3: free} if dynamic else {0: free},)
    try:
        return torch.export.export(network, (picture,), dynamic_shapes=shapes, strict=False)
    except Exception:  # of many kinds; nn.MultiheadAttention, for one, would fix the batch
        return torch.export.export(network, (picture,), dynamic_shapes=shapes, strict=True)


def _least_side(program: torch.export.ExportedProgram) -> int:
    """The least free height or width.

    Raises:
        ExportError: a free size has an upper limit.
    """
    (name,) = program.graph_signature.user_inputs
    (node,) = (node for node in program.graph.nodes if node.name == name)
    least = 1
    for axis, size in enumerate(node.meta['val'].shape):
        if isinstance(size, int):
            continue
        bounds = program.range_constraints[size.node.expr]
        if bounds.upper.is_finite and bounds.upper < SMALL:
            what = ('batch', 'channels', 'height', 'width')[axis]
            raise ExportError(f'its graph takes a {what} of at most {bounds.upper}')
        if axis > 1:
            least = max(least, int(bounds.lower))
    return least


def open_exported(path: Path, *, form: str, threads: int = 0) -> Run:
    """A function that runs an exported file.

    Args:
        path: One that ``write`` has written.
        form: Its format.
        threads: Of onnxruntime; by default it takes one a core.

    Returns:
        What takes pictures (N, 3, H, W) and gives index maps (N, H, W) and logits (N, K, H, W).
    """
    if form == 'torch_export':
        with quiet():
            return torch.export.load(str(path)).module()
    if form == 'torchscript':
        with quiet():
            return torch.jit.load(str(path))
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])

    def run(picture: Tensor) -> tuple[Tensor, Tensor]:
        index_map, logits = session.run(list(OUTPUTS), {INPUT: picture.numpy()})
        return torch.from_numpy(index_map), torch.from_numpy(logits)

    return run


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters say about themselves off the screen; errors are raised all the same.

    Warnings of the framework stay, such as that a checkpoint is loaded without protection.
    """
    # Not logging.disable: it forgets to tell mmengine's loggers, which remember that they are off.
    known = [logging.getLogger(name) for name in TALKERS]
    known += [
        logger
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and name.startswith(tuple(f'{t}.' for t in TALKERS))
    ]
    levels = dict.fromkeys(known, logging.ERROR) | {
        MMLogger.get_current_instance(): logging.WARNING
    }
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
