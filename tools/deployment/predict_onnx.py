"""Labels photos with a network that export_onnx.py has written.

Needs onnxruntime, NumPy and OpenCV, and neither torch nor the framework: this one file and the
.onnx do on a machine without them.
"""

import argparse
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')
PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
EXAMPLE = """example:
  python tools/deployment/predict_onnx.py demo.onnx holiday.jpg street/ --out labelled --color

writes labelled/holiday.png, whose grey values are class indices, and labelled/holiday_color.png.
"""


class BadPhoto(ValueError):
    """A photo cannot be read or labelled; the others can."""


class Network(NamedTuple):
    """A session and what its file's metadata says.

    ``size`` is (height, width), or None where any will do. ``palette`` holds RGB colours, and none
    where they are unknown. Larger photos are shrunk to ``max_side`` for it, unless that is None.
    """

    session: onnxruntime.InferenceSession
    size: tuple[int, int] | None
    channel_order: str
    normalize: bool
    by_min_max: bool
    mean: np.ndarray
    std: np.ndarray
    classes: list[str]
    palette: np.ndarray
    max_side: int | None = None

    def label(self, photo: np.ndarray) -> np.ndarray:
        """(H, W, 3) BGR, 0 to 255, to class indices (H, W), uint8."""
        height, width = photo.shape[:2]
        if self.size and self.size != (height, width):
            shrinks = self.size[0] * self.size[1] < height * width
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            photo = cv2.resize(photo, self.size[::-1], interpolation=how)
        elif self.max_side and max(height, width) > self.max_side:
            scale = self.max_side / max(height, width)
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        if self.channel_order == 'RGB':
            photo = photo[..., ::-1]
        picture = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])  # (1, 3, H, W)
        if self.normalize:
            picture = self._normalized(picture.astype(np.float32))
        (index_map,) = self.session.run(['index_map'], {'picture': picture})
        labels = index_map[0]
        if labels.shape != (height, width):
            labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return labels

    def _normalized(self, picture: np.ndarray) -> np.ndarray:
        if not self.by_min_max:
            return (picture - self.mean) / self.std
        low, high = picture.min(), picture.max()
        return (picture - low) / (high - low if high > low else 1)


def open_network(path: Path) -> Network:
    """A network with its metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ONNX file, or was not written by export_onnx.py.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give a file of export_onnx.py')
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    there = onnxruntime.get_available_providers()
    providers = [provider for provider in PROVIDERS if provider in there]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own have no common base
        text = ' '.join(str(error).split())[:300]
        hint = ' (.pt2 and .pt files are for torch)' if path.suffix != '.onnx' else ''
        raise ValueError(f'{path} cannot be loaded as an ONNX network: {text}{hint}') from None
    about = session.get_modelmeta().custom_metadata_map
    try:
        mean, std, classes, palette = (
            json.loads(about[key]) for key in ('mean', 'std', 'classes', 'palette')
        )
        order, outside = about['channel_order'], about['normalization'] == 'outside'
        scaling = about.get('scaling', 'mean_std')  # the only one, before there was a choice
        max_side = json.loads(about.get('trained_side', 'null'))  # younger than some files
    except (KeyError, ValueError) as error:
        raise ValueError(
            f'{path} lacks what export_onnx.py writes into its metadata ({error}); export it again'
        ) from None
    sides = session.get_inputs()[0].shape[2:]  # names where they are free
    return Network(
        session=session,
        size=tuple(sides) if all(isinstance(side, int) for side in sides) else None,
        channel_order=order,
        normalize=outside,
        by_min_max=scaling == 'min_max',
        mean=np.array(mean, np.float32).reshape(1, 3, 1, 1),
        std=np.array(std, np.float32).reshape(1, 3, 1, 1),
        classes=classes,
        palette=np.array(palette, np.uint8).reshape(-1, 3),
        max_side=max_side,
    )


def find_photos(inputs: Sequence[Path]) -> list[Path]:
    """The files named, and of each folder named the pictures directly in it.

    Raises:
        FileNotFoundError: one does not exist.
        ValueError: a folder holds no picture.
    """
    photos = []
    for path in inputs:
        if path.is_dir():
            found = sorted(p for p in path.glob('[!.]*') if p.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(f'{path} holds no picture ({" ".join(SUFFIXES)})')
            photos += found
        elif path.exists():
            photos.append(path)
        else:
            raise FileNotFoundError(f'{path} does not exist; give photos, or folders of photos')
    return list(dict.fromkeys(photos))


def plan(photos: Sequence[Path], out: Path, *, color: bool) -> list[tuple[Path, list[Path]]]:
    """Each photo with the files to be made of it: index map and, with ``color``, colours.

    Raises:
        ValueError: two photos would have the same, or one would replace a photo.
    """
    ends = ('.png', '_color.png') if color else ('.png',)
    jobs = [(photo, [out / f'{photo.stem}{end}' for end in ends]) for photo in photos]
    own = {photo.resolve() for photo in photos}
    origin: dict[Path, Path] = {}
    for photo, made in jobs:
        for path in made:
            other = origin.setdefault(path.resolve(), photo)
            if path.resolve() in own:
                raise ValueError(
                    f'{path}, to be made of {photo}, would replace a photo; give another --out'
                )
            if other is not photo:
                raise ValueError(
                    f'{path} would be made of {other} and of {photo}; label them into different '
                    'folders'
                )
    return jobs


def read_photo(path: Path) -> np.ndarray:
    """(H, W, 3) BGR, turned as its camera was held.

    Raises:
        BadPhoto: it cannot be read.
    """
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise BadPhoto(f'{path} cannot be read: {error.strerror}') from None
    try:
        if is_cut_off(content.tobytes()):
            raise BadPhoto(f'{path} is cut off: its JPEG data has no end; copy it again')
        photo = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:
        raise BadPhoto(f'{path} cannot be decoded: {error.err}') from None
    if photo is None:
        raise BadPhoto(f'{path} is no picture that OpenCV reads')
    return photo


def is_cut_off(content: bytes) -> bool:
    """Whether a JPEG lacks its end, which OpenCV then makes grey; thumbnails have ends too."""
    at = 2
    while content[at : at + 1] == b'\xff' and content[at + 1 : at + 2] != b'\xda':
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return content.startswith(b'\xff\xd8') and content.rfind(b'\xff\xd9', at) < 0


def size_note(path: Path, size: tuple[int, int]) -> str:
    """What a network of one (height, width) does with other photos, in words."""
    return (
        f'{path} takes {size[0]}x{size[1]} only: photos of another size are resized to it, and '
        'their labels back; an export with --dynamic takes them as they are'
    )


def write_png(path: Path, picture: np.ndarray) -> None:
    """Writes a file that is either complete under its name or not there at all."""
    part = path.with_name(f'.{secrets.token_hex(4)}.part')
    try:
        part.write_bytes(cv2.imencode('.png', picture)[1].tobytes())
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def predict(args: argparse.Namespace) -> int:
    """Labels every photo; the exit status is 1 if some could not be.

    Raises:
        OSError: something is missing, or may not be written.
        ValueError: the network or an argument is unusable.
    """
    network = open_network(args.model)
    if args.color and not len(network.palette):
        raise ValueError(
            f'--color: {args.model} names no colours; export it with a config or a checkpoint that '
            'knows its classes'
        )
    if args.out.is_file():
        raise ValueError(f'--out {args.out} is a file; give a folder')
    if args.max_side is not None:
        if args.max_side < 0:
            raise ValueError(f'--max-side {args.max_side}: give pixels from 0 up')
        network = network._replace(max_side=args.max_side)
    jobs = plan(find_photos(args.inputs), args.out, color=args.color)
    args.out.mkdir(parents=True, exist_ok=True)
    if network.size:
        print(size_note(args.model, network.size))
    elif network.max_side:
        print(
            f'photos of more than {network.max_side} pixels on a side are shrunk to that for the '
            'network, and their labels made as large as they are (--max-side 0: never)'
        )
    bad = 0
    for photo, made in jobs:
        try:
            picture = read_photo(photo)
            try:
                labels = network.label(picture)
            except Exception as error:  # onnxruntime's own have no common base
                text = ' '.join(str(error).split())[-300:]
                raise BadPhoto(f'{photo} cannot be labelled: {text}') from None
        except BadPhoto as error:
            bad += 1
            print(f'predict_onnx: {error}', file=sys.stderr)
            continue
        try:
            write_png(made[0], labels)
            if args.color:
                write_png(made[1], network.palette[labels][..., ::-1])
        except OSError as error:
            print(f'predict_onnx: {made[0]} cannot be written: {error}', file=sys.stderr)
            return 1
    print(f'{len(jobs) - bad} of {len(jobs)} photos are labelled in {args.out}')
    if bad:
        print(f'predict_onnx: photos left out, each named above: {bad}', file=sys.stderr)
    return 1 if bad else 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description='Label photos with an exported network: onnxruntime, no torch.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('model', metavar='MODEL.onnx', type=Path, help='file of export_onnx.py')
    add('inputs', metavar='PHOTO', type=Path, nargs='+',
        help=f'photos, or folders of photos ({" ".join(SUFFIXES)}; not of their sub-folders)',
    )  # fmt: skip
    add('--out', metavar='DIR', type=Path, required=True, help='folder to write to')
    add('--color', action='store_true', help="write NAME_color.png too, in the classes' colours")
    add('--max-side', type=int, metavar='PIXELS', help='shrink larger photos to this length of the '
        'longer side for the network (default: that of the largest photos in its training, if the '
        'file says so; 0: never)',
    )  # fmt: skip
    add('--debug', action='store_true', help='show where an error comes from')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the command: 2 for what the user can mend at start, 1 for trouble, 130 after Ctrl-C."""
    args = parse_args(argv)
    try:
        return predict(args)
    except (OSError, ValueError) as error:
        if args.debug:
            raise
        print(f'predict_onnx: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'predict_onnx: interrupted; what {args.out} holds is whole', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
