"""Static quantisation of an ONNX file to int8 by onnxruntime's quantizer, and what it costs.

Weights are symmetric, per output channel; activations have the extremes that they reach on
calibration photos. The file keeps its operators, with QuantizeLinear and DequantizeLinear between
them (QDQ), which runtimes fuse.

Shape shorthand in this module: K: output channels; h, w: height and width of the logits.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from pspnet_plugin.apis.export.exporters import INPUT, OUTPUTS
from pspnet_plugin.apis.onnx_network import OnnxNetwork
from pspnet_plugin.evaluation.areas import areas, scores

LAYERS = ('Conv', 'MatMul')
AROUND = ('Add', 'Clip', 'Concat', 'Relu')  # quantised as well, so that integers stay integers
PROBES = 4  # photos by which the sensitivity of layers is measured
ROUNDS = 21  # of timing

# A photo, (H, W, 3) uint8 BGR, and its class indices, (H, W) uint8, or None.
Read = Callable[[], tuple[np.ndarray, np.ndarray | None]]


class Quantized(NamedTuple):
    """Cost and gain of a network in int8, measured on photos that did not calibrate it."""

    loss: float  # in points of mIoU, or percent of the pixels whose class changed
    by_truth: bool  # in mIoU
    speed: float  # times as fast as the float file here
    in_float: list[str]  # layers that stay so

    def __str__(self) -> str:
        lost = f'{self.loss:.2f} points of mIoU lost'
        changed = f'the class of {self.loss:.2f} % of the pixels changed'
        kept = f', {len(self.in_float)} layers in float' if self.in_float else ''
        return f'{lost if self.by_truth else changed}, {self.speed:.2f} times as fast{kept}'


def quantize(source: Path, target: Path, reads: Sequence[Read], *, max_loss: float) -> Quantized:
    """Write an int8 form of a file of ``write``; photos by turns calibrate and check it.

    Layers stay in float, the most sensitive first, until the loss is at most ``max_loss``, or half
    of them are.
    """
    with tempfile.TemporaryDirectory() as folder:
        network = OnnxNetwork(source)
        check = _Check(network, reads[1::2])
        quantizer = _Quantizer(
            source, Path(folder), lambda: (network.prepare(read()[0]) for read in reads[::2])
        )
        in_float: list[str] = []
        quantizer.write(target)
        loss = check.loss(target)
        ranked = quantizer.most_sensitive() if loss > max_loss else []
        while loss > max_loss and len(in_float) < len(ranked) // 2:
            in_float = ranked[: max(1, 2 * len(in_float))]
            quantizer.write(target, without=in_float)
            loss = check.loss(target)
    photo, _ = reads[1]()
    return Quantized(loss, check.by_truth, _speed(network, OnnxNetwork(target), photo), in_float)


class _Check:
    """Loss of a network against the float one, on the same photos."""

    def __init__(self, network: OnnxNetwork, reads: Sequence[Read]) -> None:
        self._reads, self._classes = reads, len(network.classes)
        self._expected = list(self._labels(network))
        self.by_truth = all(truth is not None for _, truth in self._expected)
        self._miou = self._miou_of(self._expected) if self.by_truth else 0.0

    def loss(self, path: Path) -> float:
        found = list(self._labels(OnnxNetwork(path)))
        if self.by_truth:
            return self._miou - self._miou_of(found)
        pairs = zip(found, self._expected, strict=True)
        return 100 * float(np.mean([np.mean(a != b) for (a, _), (b, _) in pairs]))

    def _labels(self, network: OnnxNetwork) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        for read in self._reads:
            photo, truth = read()
            yield network.run([photo])[0].labels, truth

    def _miou_of(self, labelled: Iterable[tuple[np.ndarray, np.ndarray | None]]) -> float:
        counts = [
            areas(labels, truth, self._classes) for labels, truth in labelled if truth is not None
        ]
        return float(scores(np.sum(counts, axis=0))['mIoU'])


class _Quantizer:
    """onnxruntime's quantizer of one network, calibrated once for several files."""

    def __init__(
        self, source: Path, folder: Path, inputs: Callable[[], Iterator[np.ndarray]]
    ) -> None:
        self._inputs = inputs
        self._prepared, self._trial = folder / 'prepared.onnx', folder / 'trial.onnx'
        self._metadata = onnx.load(source).metadata_props
        model = ir.load(source)
        label_channels_last(model.graph)
        ir.save(model, folder / 'float.onnx')
        quant_pre_process(folder / 'float.onnx', self._prepared, skip_symbolic_shape=True)
        calibrator = create_calibrator(
            self._prepared, [*LAYERS, *AROUND], augmented_model_path=str(folder / 'ranges.onnx'),
            calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip
        calibrator.collect_data(_Reader(inputs()))
        self._ranges = calibrator.compute_data()

    def write(self, path: Path, *, only: Sequence[str] = (), without: Sequence[str] = ()) -> None:
        """Write the network with all layers in int8, or with ``only`` or ``without`` some."""
        quantizer = QDQQuantizer(
            onnx.load(self._prepared), per_channel=True, reduce_range=False,
            weight_qType=QuantType.QInt8, activation_qType=QuantType.QUInt8,
            tensors_range=self._ranges, nodes_to_quantize=list(only),
            nodes_to_exclude=list(without), op_types_to_quantize=[*LAYERS, *AROUND],
            extra_options={},
        )  # fmt: skip
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        model = quantizer.model.model
        onnx.checker.check_model(model, full_check=True)
        del model.metadata_props[:]
        model.metadata_props.extend(self._metadata)
        onnx.save(model, path)

    def most_sensitive(self) -> list[str]:
        """Return the layers, first those that change the logits most when they alone are int8."""
        nodes = [n.name for n in onnx.load(self._prepared).graph.node if n.op_type in LAYERS]
        expected = self._logits(self._prepared)
        errors = {}
        for name in nodes:
            self.write(self._trial, only=[name])
            errors[name] = float(np.square(self._logits(self._trial) - expected).sum())
        return sorted(errors, key=errors.__getitem__, reverse=True)

    def _logits(self, path: Path) -> np.ndarray:
        """Compute (PROBES, K, h, w) logits; photos of other sizes than the first are left out."""
        session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
        photos = list(islice(self._inputs(), PROBES))
        batch = [x for x in photos if x.shape == photos[0].shape]
        return np.concatenate([session.run([OUTPUTS[1]], {INPUT: x})[0] for x in batch])


class _Reader(CalibrationDataReader):
    """Inputs as onnxruntime's calibration asks for them."""

    def __init__(self, inputs: Iterable[np.ndarray]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(({INPUT: x} for x in self._inputs), None)


def label_channels_last(graph: ir.Graph) -> None:
    """Upsample the logits for the labels with channels last, where onnxruntime is twice as fast.

    The output of logits stays (N, K, h, w), as upsampling them as well takes as long again. Graphs
    that do not end in bilinear upsampling and argmax, as with one output channel, are left.
    """
    labels, logits = graph.outputs
    argmax = _producer(_producer(labels, 'Cast'), 'ArgMax')
    resize = _producer(argmax, 'Resize')
    if resize is None or argmax is None or resize.outputs[0] is not logits:
        return
    if resize.attributes.get_string('coordinate_transformation_mode') != 'half_pixel':
        return
    small, _, _, size = (*resize.inputs, None)[:4]
    if small is None or size is None:  # scales in place of a size
        return
    order = ir.val('channels_last', const_value=ir.tensor([0, 2, 3, 1], name='channels_last'))
    graph.register_initializer(order)
    last = ir.node('Transpose', [small], dict(perm=[0, 2, 3, 1]))
    last_size = ir.node('Gather', [size, order])
    upsampled = ir.node(
        'Resize', [last.outputs[0], None, None, last_size.outputs[0]], resize.attributes
    )
    graph.insert_before(resize, [last, last_size, upsampled])
    argmax.replace_input_with(0, upsampled.outputs[0])
    argmax.attributes['axis'] = ir.AttrInt64('axis', 3)
    graph.outputs[1] = small
    graph.remove(resize, safe=True)
    small.name = OUTPUTS[1]


def _producer(after: ir.Value | ir.Node | None, kind: str) -> ir.Node | None:
    """Return the node of this kind that makes a value, or the first input of a node."""
    value = after.inputs[0] if isinstance(after, ir.Node) else after
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == kind else None


def _speed(slow: OnnxNetwork, fast: OnnxNetwork, photo: np.ndarray) -> float:
    """Return how many times as fast a network is: the median over rounds, in turns."""
    ratios = []
    for _ in range(ROUNDS + 1):
        seconds = []
        for network in (slow, fast):
            start = time.perf_counter()
            network.run([photo])
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])
