"""Export a trained network, from image to label map, and check the file before it is kept.

The format is ONNX; ``--format`` has those of torch too.
"""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmseg.models import EncoderDecoder

from pspnet_plugin.apis.export.comparison import compare, sample_images, shapes_to_check
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork
from pspnet_plugin.apis.export.exporters import (
    FORMATS,
    OLDEST_OPSET,
    OPSET,
    ExportError,
    Run,
    check_packages,
    open_exported,
    quiet,
    write,
)
from pspnet_plugin.apis.loading import (
    check_padding,
    describe,
    load_model,
    size_of,
    trained_bits,
    trained_side,
)
from pspnet_plugin.apis.photos import read_photo, shrink
from pspnet_plugin.toolkit.arguments import (
    add_cfg_options,
    atomic_output,
    check_output_name,
    read_config,
)
from pspnet_plugin.toolkit.prediction.pair_reader import PairReader, make_pair_reader
from pspnet_plugin.toolkit.prediction.sources import Source, find_sources
from pspnet_plugin.utils.command_line import add_debug, complain, parse_size, run_command
from pspnet_plugin.utils.images import Bits
from pspnet_plugin.version import __version__

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_SIDE = 256
MAX_LOSS = 1.0  # of int8
FEWEST, MOST = 20, 300  # photos of a calibration; of more, some spread evenly are taken
EXAMPLE = """example:
  python tools/deployment/export_onnx.py configs/psp_demo.py work_dirs/psp_demo/iter_600.pth \\
      work_dirs/psp_demo/demo.onnx --dynamic
  python tools/deployment/predict_onnx.py work_dirs/psp_demo/demo.onnx photo.jpg --out labelled

The file takes "picture", (N, 3, H, W) in the channel order that its metadata names, and gives
"index_map", (N, H, W) uint8, and "logits", (N, K, H, W). N is always free.
"""


class CheckFailed(RuntimeError):
    """The exported file gives other results than the network."""


def export(args: argparse.Namespace) -> int:
    """Load, export, check, keep; the exit status is 1 if int8 was asked for and does not pay."""
    check_packages(args.format)
    _check_arguments(args)
    with quiet():
        config = read_config(args, root=ROOT)
        reads = calibration(args, config) if args.quantize else []
        model, meta = load_model(config, args.checkpoint)
    size = args.size or size_of(config)
    if size is None:
        raise ValueError(f'{args.config} has no image size; give one by --size HxW')
    check_padding(model, size, dynamic=args.dynamic)
    normalize = args.normalize == 'inside'
    network = DeployedNetwork(model, normalize=normalize).eval()
    info = describe(model, config, meta)
    if not info['classes']:
        complain(
            'export_onnx',
            f'neither {args.checkpoint} nor {args.config} names the {model.num_classes} classes; '
            'the file will not name them either, nor their colours',
        )
    metadata = dict(
        **info, normalization=args.normalize, size=list(size), dynamic_size=args.dynamic,
        trained_side=trained_side(config), bits=trained_bits(config), pspnet_plugin=__version__,
    )  # fmt: skip
    # A small example would limit the sizes, which an ONNX file does not even check.
    example = [max(side, EXAMPLE_SIDE) for side in size] if args.dynamic else size
    images = sample_images((2, *example))
    if not normalize:
        images = images.float()
    with atomic_output(args.out, suffix=FORMATS[args.format]) as part:
        start = time.perf_counter()
        print(f'exporting {args.config} (transformers take minutes) ...', flush=True)
        least = write(
            network, images, part, form=args.format, dynamic=args.dynamic, opset=args.opset,
            metadata=metadata, half=args.half,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        print(f'exported in {seconds:.0f} s; checked against the framework:')
        run = open_exported(part, form=args.format)
        for shape in shapes_to_check(size, dynamic=args.dynamic):
            _check(
                run, model, shape,
                normalize=normalize, order=info['channel_order'], half=args.half,
            )  # fmt: skip
        kept = not reads or quantize_if_it_pays(args, part, reads)
    sides = f'{size[0]}x{size[1]}'
    if args.dynamic:
        sides = 'any height and width' + (f' from {least}' if least > 1 else '')
    megabytes = args.out.stat().st_size / 1e6
    print(f'{args.out}: {megabytes:.1f} MB, images of {sides}, {info["channel_order"]}')
    return 0 if kept else 1


def calibration(args: argparse.Namespace, config: Config) -> list:
    """Return the functions that read the photos, or pairs, of ``--quantize``."""
    sources = [source for source in find_sources([str(args.quantize)]) if not source.is_video]
    if len(sources) < FEWEST:
        raise ValueError(
            f'--quantize {args.quantize} holds {len(sources)} photos; give {FEWEST} at least, and '
            f'better 100 to {MOST}'
        )
    sources = sources[:: -(-len(sources) // MOST)]
    if args.pairs:
        reader = make_pair_reader(config)
        return [partial(_read_pair, reader, source) for source in sources]
    side = trained_side(config) or sys.maxsize
    return [partial(_read, source.path, bits=trained_bits(config), side=side) for source in sources]


def _read_pair(reader: PairReader, source: Source) -> tuple[np.ndarray, np.ndarray]:
    image = reader.read(source)
    return image.photo, image.truth


def _read(path: Path, *, bits: Bits | None, side: int) -> tuple[np.ndarray, None]:
    return shrink(read_photo(path, bits=bits), side), None


def quantize_if_it_pays(args: argparse.Namespace, path: Path, reads: list) -> bool:
    """Replace a float file by its int8 form if that is faster and close enough."""
    from pspnet_plugin.apis.export.quantization import quantize

    most = MAX_LOSS if args.max_loss is None else args.max_loss
    target = path.with_name('int8.onnx')
    print(f'quantising by {len(reads)} photos, of which every second one checks it ...', flush=True)
    with quiet():
        result = quantize(path, target, reads, max_loss=most)
    print(f'  int8: {result}')
    if pays := result.loss <= most and result.speed > 1:
        os.replace(target, path)
    else:
        complain(
            'export_onnx',
            f'{args.out} stays in float: int8 is kept if it loses at most {most:g} '
            '(--max-loss) and is faster here',
        )
    return pays


def _check(
    run: Run, model: EncoderDecoder, shape: tuple[int, int, int],
    *, normalize: bool, order: str, half: bool,
) -> None:  # fmt: skip
    """Compare the exported file with the framework on images of a shape (N, H, W)."""
    try:
        difference = compare(run, model, shape, normalize=normalize, order=order)
    except Exception as error:  # the runtime's own, of any kind
        n, height, width = shape
        text = ' '.join(str(error).split())[:400]
        raise CheckFailed(f'{n} x {height}x{width} does not run: {text}') from error
    print(f'  {difference}', flush=True)
    if not difference.passes(half=half):
        raise CheckFailed(f'the results differ from the framework: {difference}')


def _check_arguments(args: argparse.Namespace) -> None:
    check_output_name(args.out, FORMATS[args.format])
    if args.half and args.format != 'onnx':
        raise ValueError(f'--half is for ONNX files, not --format {args.format}')
    if args.quantize and (args.half or args.format != 'onnx'):
        raise ValueError('--quantize is for ONNX files, without --half')
    if not args.quantize and (args.pairs or args.max_loss is not None):
        raise ValueError('--pairs and --max-loss are for --quantize')
    if args.dynamic and args.format == 'torchscript':
        raise ValueError('--dynamic: a trace may fix the size; take --format torch_export, or onnx')
    if args.format == 'onnx':
        import onnx

        newest = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= args.opset <= newest:
            raise ValueError(f'--opset {args.opset}: expected {OLDEST_OPSET} to {newest}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Export a trained network, from image to label map, and check the file.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('config', metavar='CONFIG', type=Path, help='config of the network')
    add('checkpoint', metavar='CHECKPOINT', type=Path,
        help='file of its weights, all of which must fit',
    )  # fmt: skip
    add('out', metavar='OUT', type=Path, help='file to write: .onnx, .pt2 (torch_export), .pt')
    add(
        '--size', type=parse_size, metavar='HxW',
        help="height and width of the images (default: the config's crop)",
    )  # fmt: skip
    add('--dynamic', action='store_true', help='take images of any height and width')
    add(
        '--normalize', choices=('inside', 'outside'), default='inside',
        help='inside: the file takes 0 to 255, uint8; outside: normalised floats (default inside)',
    )  # fmt: skip
    add('--half', action='store_true', help='store the weights in float16: half the file (.onnx)')
    add(
        '--quantize', metavar='DIR', type=Path,
        help='quantise to int8 by the photos of a directory, 100 to 300, for onnxruntime; kept if '
        'it loses little and is faster here, else the file stays in float',
    )  # fmt: skip
    add('--pairs', action='store_true',
        help='the photos of --quantize are pairs, by which the loss is measured in mIoU, else by '
        'the pixels whose class changes',
    )  # fmt: skip
    add('--max-loss', type=float, default=None, metavar='PERCENT',
        help='largest loss of --quantize, in points of mIoU with --pairs (1)',
    )  # fmt: skip
    add('--opset', type=int, default=OPSET, help=f'version of the ONNX operators (default {OPSET})')
    add('--format', choices=FORMATS, default='onnx', help='file format (default onnx)')
    add_cfg_options(parser)
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for its exit status."""
    args = parse_args(argv)
    unwritten = f'{args.out} was not written'
    return run_command(
        'export_onnx', export, args, interrupted=unwritten,
        endings={
            ExportError: lambda error: (
                1, f'{args.config} cannot be exported as {args.format}: {error}'
            ),
            CheckFailed: lambda error: (1, f'{error}; {unwritten}'),
        },
    )  # fmt: skip


if __name__ == '__main__':
    sys.exit(main())
