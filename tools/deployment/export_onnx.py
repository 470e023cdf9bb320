"""Exports a trained network, from picture to index map, and checks the file before it is kept.

ONNX by default; ``--format`` has torch's own forms too.
"""

import argparse
import sys
import time
from pathlib import Path

from pspnet_plugin.apis.export.comparison import compare, sample_pictures, shapes_to_check
from pspnet_plugin.apis.export.deployed_network import DeployedNetwork
from pspnet_plugin.apis.export.exporters import (
    FORMATS,
    OLDEST_OPSET,
    OPSET,
    ExportError,
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
)
from pspnet_plugin.apis.trained_size import trained_side
from pspnet_plugin.toolkit.arguments import (
    add_cfg_options,
    atomic_output,
    check_output_name,
    read_config,
)
from pspnet_plugin.utils.command_line import add_debug, complain, parse_size, run_command
from pspnet_plugin.version import __version__

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_SIDE = 256
EXAMPLE = """example:
  python tools/deployment/export_onnx.py configs/psp_demo.py work_dirs/psp_demo/iter_600.pth \\
      work_dirs/psp_demo/demo.onnx --dynamic
  python tools/deployment/predict_onnx.py work_dirs/psp_demo/demo.onnx photo.jpg --out labelled

The file takes "picture", (N, 3, H, W) in the channel order that its metadata names, and gives
"index_map", (N, H, W) uint8, and "logits", (N, K, H, W). N is always free.
"""


class CheckFailed(RuntimeError):
    """The exported file is not the network."""


def export(args: argparse.Namespace) -> None:
    """Loads, exports, checks, keeps.

    Raises:
        ImportError: a package is missing.
        OSError: a file is missing, or may not be read or written.
        ValueError: an argument, the config or the checkpoint is unusable.
        ExportError: the exporter cannot write this network.
        CheckFailed: what it wrote is not the network.
    """
    check_packages(args.format)
    _check_names(args)
    with quiet():
        config = read_config(args, root=ROOT)
        model, meta = load_model(config, args.checkpoint)
    size = args.size or size_of(config)
    if size is None:
        raise ValueError(f'{args.config} names no size of pictures; give one by --size HxW')
    check_padding(model, size, dynamic=args.dynamic)
    normalize = args.normalize == 'inside'
    network = DeployedNetwork(model, normalize=normalize).eval()
    about = describe(model, config, meta)
    if not about['classes']:
        complain(
            'export_onnx',
            f'neither {args.checkpoint} nor {args.config} names the '
            f'{model.num_classes} classes; the file will not know them, nor their colours',
        )
    metadata = dict(
        **about, normalization=args.normalize, size=list(size), dynamic_size=args.dynamic,
        trained_side=trained_side(config), pspnet_plugin=__version__,
    )  # fmt: skip
    # A small example would have limits of its own, which an ONNX file does not even check.
    example = [max(side, EXAMPLE_SIDE) for side in size] if args.dynamic else size
    picture = sample_pictures((2, *example))
    if not normalize:
        picture = picture.float()
    with atomic_output(args.out, suffix=FORMATS[args.format]) as part:
        start = time.perf_counter()
        print(f'exporting {args.config} (transformers take minutes) ...', flush=True)
        least = write(
            network, picture, part, form=args.format, dynamic=args.dynamic, opset=args.opset,
            metadata=metadata,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        print(f'exported in {seconds:.0f} s; checked against the framework:')
        run = open_exported(part, form=args.format)
        for shape in shapes_to_check(size, dynamic=args.dynamic):
            try:
                found = compare(
                    run, model, shape, normalize=normalize, order=about['channel_order']
                )
            except Exception as error:  # the runtime's own, of whatever kind
                n, h, w = shape
                text = ' '.join(str(error).split())[:400]
                raise CheckFailed(f'{n} x {h}x{w} does not run: {text}') from error
            print(f'  {found}', flush=True)
            if not found.passes():
                raise CheckFailed(f'another result than the framework: {found}')
    sides = f'{size[0]}x{size[1]}'
    if args.dynamic:
        sides = 'any height and width' + (f' from {least}' if least > 1 else '')
    megabytes = args.out.stat().st_size / 1e6
    print(f'{args.out}: {megabytes:.1f} MB, pictures of {sides}, {about["channel_order"]}')


def _check_names(args: argparse.Namespace) -> None:
    check_output_name(args.out, FORMATS[args.format])
    if args.dynamic and args.format == 'torchscript':
        raise ValueError(
            '--dynamic: a trace may keep its size; take --format torch_export, or onnx'
        )
    if args.format == 'onnx':
        import onnx

        newest = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= args.opset <= newest:
            raise ValueError(f'--opset {args.opset}: expected {OLDEST_OPSET} to {newest}')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Export a trained network, from picture to index map, checked.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('config', metavar='CONFIG', type=Path, help='config of the network')
    add('checkpoint', metavar='CHECKPOINT', type=Path, help='its weights; all of them must fit')
    add('out', metavar='OUT', type=Path, help='file to write: .onnx, .pt2 (torch_export), .pt')
    add(
        '--size', type=parse_size, metavar='HxW',
        help="height and width of the pictures (the config's crop)",
    )  # fmt: skip
    add('--dynamic', action='store_true', help='take pictures of any height and width')
    add(
        '--normalize', choices=('inside', 'outside'), default='inside',
        help='inside: the file takes 0 to 255, uint8; outside: normalised floats (inside)',
    )  # fmt: skip
    add('--opset', type=int, default=OPSET, help=f'of ONNX ({OPSET})')
    add('--format', choices=FORMATS, default='onnx', help='(onnx)')
    add_cfg_options(parser)
    add_debug(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see ``run_command`` for its exit status."""
    args = parse_args(argv)
    unwritten = f'{args.out} was not written'
    endings = {
        ExportError: lambda error: (
            1, f'{args.config} cannot be exported as {args.format}: {error}'
        ),
        CheckFailed: lambda error: (1, f'{error}; {unwritten}'),
    }  # fmt: skip
    return run_command('export_onnx', export, args, interrupted=unwritten, endings=endings)


if __name__ == '__main__':
    sys.exit(main())
