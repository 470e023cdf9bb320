"""Serve a page on which a colleague without a terminal drops a photo and sees its classes.

It listens on this machine alone unless --host is given, and fetches nothing from elsewhere.
Two networks are shown side by side: give two names of the zoo, or two configs and checkpoints.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from pspnet_plugin import Predictor
from pspnet_plugin.apis.loading import load_config
from pspnet_plugin.engine.stock_tools import find_config
from pspnet_plugin.engine.zoo import DEFAULT_MODEL
from pspnet_plugin.labels.palettes import CITYSCAPES
from pspnet_plugin.toolkit.arguments import add_cfg_options, add_model, find_model
from pspnet_plugin.utils.command_line import add_bits, add_debug, run_command

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = """examples:
  python tools/web_demo.py
  python tools/web_demo.py --config configs/psp_demo.py \\
      --checkpoint work_dirs/psp_demo/iter_600.pth
  python tools/web_demo.py --config before.py after.py --checkpoint before.pth after.pth
  python tools/web_demo.py --config facades.py --checkpoint facades.pth \\
      --title 'Facades by class' --examples photos/
"""


def open_predictors(args: argparse.Namespace) -> dict[str, Predictor]:
    """Open the networks, by their names on the page."""
    is_default = not (args.model or args.config or args.checkpoint)
    models = [DEFAULT_MODEL] if is_default else args.model or []
    count = len(models) + len(args.checkpoint)
    if len(args.config) != len(args.checkpoint) or count > 2:
        raise ValueError(
            f'{len(models)} --model, {len(args.config)} --config and {len(args.checkpoint)} '
            '--checkpoint are given; give one network or two, each of your own with both'
        )
    if not 0 < args.port < 65536:
        raise ValueError(f'--port {args.port}: give a number from 1 to 65535')
    if args.root_path is not None and not args.root_path.startswith(('/', 'http')):
        raise ValueError(f'--root-path {args.root_path}: give a path that begins with /')
    if args.max_side < 32:
        raise ValueError(f'--max-side {args.max_side}: give 32 or more pixels')
    networks = [(name, *find_model(name, is_default=is_default)) for name in models]
    for path, checkpoint in zip(args.config, args.checkpoint, strict=True):
        name = f'{checkpoint.resolve().parent.name}/{checkpoint.stem}'
        networks.append((name, Path(find_config(str(path), root=ROOT)), checkpoint))
    predictors: dict[str, Predictor] = {}
    for name, path, checkpoint in networks:
        config = load_config(path, options=args.cfg_options, whole=False)
        predictor = Predictor(config, checkpoint, device=args.device)
        predictor.require_classes()
        predictors[name if name not in predictors else str(checkpoint)] = predictor
    return predictors


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add_model(parser, nargs='+')
    add('--config', type=Path, nargs='+', default=[], help='config of a network of your own')
    add('--checkpoint', type=Path, nargs='+', default=[], help='file of its weights')
    add('--host', default='127.0.0.1', help='address to listen on (default 127.0.0.1)')
    add('--port', type=int, default=7860, help='port (default 7860)')
    add('--max-side', type=int, default=1024,
        help='length in pixels to which longer sides of photos are shrunk (default 1024); for the '
        'network, further to that of its training photos',
    )  # fmt: skip
    add('--title', metavar='TEXT',
        help="title of the page (default: 'Street scenes by class' if the classes are those of "
        "Cityscapes, else 'Photos by class')",
    )  # fmt: skip
    add('--examples', metavar='PATH', nargs='+',
        help='photos to choose from, or directories of them; the first 8 are shown (default: '
        'generated street scenes, and a photo where scikit-learn is installed, if the classes are '
        'those of Cityscapes; else none)',
    )  # fmt: skip
    add('--root-path', metavar='/PATH',
        help='path under which a proxy serves the page, such as /street for example.org/street',
    )  # fmt: skip
    add_bits(parser)
    add('--device', help='cpu, cuda:0 … (default: the first GPU, if there is one)')
    add_debug(parser)
    add_cfg_options(parser)
    return parser.parse_args(arguments)


def serve(args: argparse.Namespace) -> None:
    """Serve until interrupted or terminated; the uploads are removed then."""
    with temporary_uploads():
        _serve(args)


@contextlib.contextmanager
def temporary_uploads() -> Iterator[None]:
    """Keep uploads in a directory that is removed at the end, also after SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix='web_demo_') as directory:
            os.environ['GRADIO_TEMP_DIR'] = directory  # read when gradio is imported
            yield
    finally:
        os.environ.pop('GRADIO_TEMP_DIR', None)
        signal.signal(signal.SIGTERM, before)


def _serve(args: argparse.Namespace) -> None:
    try:
        from pspnet_plugin.toolkit.web.examples import read_examples, sample_photos, street_scenes
        from pspnet_plugin.toolkit.web.page import build_page, launch_options
    except ImportError as error:
        raise ValueError(
            f"the page needs gradio ({error}): pip install -c constraints.txt '.[onedl,web]'"
        ) from None
    predictors = open_predictors(args)
    streets = all(list(p.classes) == list(CITYSCAPES['classes']) for p in predictors.values())
    title = args.title or ('Street scenes by class' if streets else 'Photos by class')
    bits = args.bits or next(iter(predictors.values())).bits
    if args.examples:
        examples = read_examples(args.examples, max_side=args.max_side, bits=bits)
    else:
        examples = [*sample_photos(args.max_side), *street_scenes()] if streets else []
    page = build_page(predictors, max_side=args.max_side, title=title, examples=examples, bits=bits)
    try:
        _, url, _ = page.launch(
            server_name=args.host, server_port=args.port, prevent_thread_lock=True,
            root_path=args.root_path, **launch_options(),
        )  # fmt: skip
    except OSError:
        raise ValueError(
            f'{args.host}:{args.port} is in use, or not an address of this machine; give another '
            '--port or --host'
        ) from None
    print(f'Open {url} in a browser; Ctrl-C ends it.', flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for its exit status."""
    return run_command('web_demo', serve, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
