"""Label photos with a network that export_onnx.py has written.

Needs onnxruntime, NumPy and OpenCV, and neither torch nor the framework: this one file and the
.onnx are enough on a machine without them. ``pspnet_plugin.Predictor`` gives the same labels.
"""

import argparse
import contextlib
import hashlib
import json
import os
import secrets
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

# As of all tools; OpenCV does not read the last ones in every version.
SUFFIXES = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.webp', '.tif', '.tiff', '.gif', '.jp2',
    '.avif', '.heic', '.heif',
)  # fmt: skip
Bits = int | tuple[int, int]  # bits of a photo's values, or the values of black and white
PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')
EXAMPLE = """example:
  python tools/deployment/predict_onnx.py demo.onnx holiday.jpg street/ --out labelled --color

writes labelled/holiday.png, whose grey values are class indices, and labelled/holiday_color.png.
"""


class BadPhoto(ValueError):
    """A photo cannot be read or labelled; others can."""


def check_listed(path: Path) -> None:
    """Raise ``ValueError`` if a file is not the one that ``SHA256SUMS`` beside it lists."""
    sums = path.with_name('SHA256SUMS')
    text = sums.read_text(encoding='utf-8', errors='replace') if sums.is_file() else ''
    pairs = (line.split(maxsplit=1) for line in text.splitlines())
    own = (pair[0] for pair in pairs if len(pair) == 2 and pair[1].lstrip('*') == path.name)
    expected = next(own, None)
    if expected and hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise ValueError(f'{path} is not the file that {sums} lists; copy or install it again')


class Network:
    """A network and the metadata of its file.

    Attributes:
        size: (height, width) to which photos are resized, None if the file takes any.
        palette: (K, 3) uint8, RGB; empty if unknown.
        max_side: Length in pixels to which a longer side is shrunk; None or 0: never.
        bits: Bits that the values of 16-bit photos have; None: such photos are refused.
        licence: Terms of use, if the file has some.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: It is not an ONNX file, or was not written by export_onnx.py.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f'{path} does not exist; give a file of export_onnx.py')
        check_listed(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        available = onnxruntime.get_available_providers()
        providers = [provider for provider in PROVIDERS if provider in available]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's errors have no common base
            text = ' '.join(str(error).split())[:300]
            hint = ' (.pt2 and .pt files are for torch)' if path.suffix != '.onnx' else ''
            raise ValueError(f'{path} cannot be loaded as an ONNX network: {text}{hint}') from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            mean, std, self.classes, palette = (
                json.loads(metadata[key]) for key in ('mean', 'std', 'classes', 'palette')
            )
            self._to_rgb = metadata['channel_order'] == 'RGB'
            self._normalize = metadata['normalization'] == 'outside'
            # Not in files of older versions.
            self._by_min_max = metadata.get('scaling', 'mean_std') == 'min_max'
            trained_side = json.loads(metadata.get('trained_side', 'null'))
            bits = json.loads(metadata.get('bits', 'null'))
        except (KeyError, ValueError) as error:
            raise ValueError(
                f'{path} lacks metadata that export_onnx.py writes ({error}); export it again'
            ) from None
        self.licence = metadata.get('licence', '')
        self._mean, self._std = (
            np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (mean, std)
        )
        self.palette = np.array(palette, np.uint8).reshape(-1, 3)
        sides = self._session.get_inputs()[0].shape[2:]  # names where they are free
        self.size = tuple(sides) if all(isinstance(side, int) for side in sides) else None
        self.max_side: int | None = None if self.size else trained_side
        self.bits: Bits | None = (bits[0], bits[1]) if isinstance(bits, list) else bits

    def label(self, photo: np.ndarray) -> np.ndarray:
        """Label a photo, (H, W, 3) uint8 BGR: class indices (H, W), uint8."""
        height, width = photo.shape[:2]
        longest = max(height, width)
        if not self.max_side or longest <= self.max_side:
            return self._label(photo)
        scale = self.max_side / longest
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        labels = self._label(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    def _label(self, photo: np.ndarray) -> np.ndarray:
        height, width = photo.shape[:2]
        if self.size and self.size != (height, width):
            shrinks = self.size[0] * self.size[1] < height * width
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            photo = cv2.resize(photo, self.size[::-1], interpolation=method)
        if self._to_rgb:
            photo = photo[..., ::-1]
        batch = np.ascontiguousarray(photo.transpose(2, 0, 1)[None])  # (1, 3, H, W)
        if self._normalize:
            batch = self._normalized(batch.astype(np.float32))
        (index_map,) = self._session.run(['index_map'], {'picture': batch})
        labels = index_map[0]
        if labels.shape != (height, width):
            labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return labels

    def _normalized(self, batch: np.ndarray) -> np.ndarray:
        if not self._by_min_max:
            return (batch - self._mean) / self._std
        low, high = batch.min(), batch.max()
        return (batch - low) / (high - low if high > low else 1)


def find_photos(inputs: Sequence[Path]) -> list[Path]:
    """Find the files that are named, and the photos directly in each directory that is."""
    photos = []
    for path in inputs:
        if path.is_dir():
            files = sorted(p for p in path.glob('[!.]*') if p.is_file())
            inside = [p for p in files if p.suffix.lower() in SUFFIXES]
            if not inside:
                raise ValueError(f'{path} holds no photo ({" ".join(SUFFIXES)})')
            if others := Counter(p.suffix.lower() or 'no suffix' for p in {*files} - {*inside}):
                listed = ', '.join(f'{count} {suffix}' for suffix, count in others.most_common())
                print(f'{path}: other files, skipped: {listed}')
            photos += inside
        elif path.exists():
            photos.append(path)
        else:
            raise FileNotFoundError(f'{path} does not exist; give photos, or directories of photos')
    return list(dict.fromkeys(photos))


def plan(photos: Sequence[Path], out: Path, *, color: bool) -> list[tuple[Path, list[Path]]]:
    """Pair each photo with its output files: label map and, with ``color``, its colours.

    ``ValueError``: two photos would share an output file, or one would replace a photo.
    """
    ends = ('.png', '_color.png') if color else ('.png',)
    jobs = [(photo, [out / f'{photo.stem}{end}' for end in ends]) for photo in photos]
    inputs = {photo.resolve() for photo in photos}
    writers: dict[Path, Path] = {}
    for photo, outputs in jobs:
        for path in outputs:
            other = writers.setdefault(path.resolve(), photo)
            if path.resolve() in inputs:
                raise ValueError(
                    f'{path}, the output for {photo}, would replace a photo; give another --out'
                )
            if other is not photo:
                raise ValueError(
                    f'{path} would be the output for {other} and for {photo}; label them into '
                    'different directories'
                )
    return jobs


def read_photo(path: Path, bits: Bits | None = None) -> np.ndarray:
    """Read a photo as (H, W, 3) uint8 BGR, turned upright by its EXIF orientation."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadPhoto(f'{path} cannot be read: {error.strerror}') from None
    if is_cut_off(content):
        raise BadPhoto(f'{path} is cut off: its JPEG data has no end; copy it again')
    if problem := band_problem(tiff_pages(content)):
        raise BadPhoto(f'{path}: {problem}')
    if content[4:12] == b'ftypavif' and (b'irot' in content[:4096] or b'imir' in content[:4096]):
        raise BadPhoto(f'{path} is an AVIF that is to be turned; save it upright, or as a JPEG')
    try:
        buffer = np.frombuffer(content, np.uint8)
        if is_animated(content) or (
            content.startswith(b'GIF8') and len(cv2.imdecodemulti(buffer, cv2.IMREAD_COLOR)[1]) > 1
        ):
            raise BadPhoto(f'{path} holds several frames; save the one that counts as a file')
        how = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        photo = cv2.imdecode(buffer, how) if content else None
    except cv2.error as error:
        raise BadPhoto(f'{path} cannot be decoded: {error.err}') from None
    if photo is None:
        raise BadPhoto(f'{path} is not an image that OpenCV reads')
    extra = (tiff_pages(content) or [{}])[0].get(338, ())
    if 2 in extra and photo.dtype == np.uint8:  # OpenCV darkens what is transparent
        stored = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        if stored.ndim < 3 or (stored[..., -1] < 255).any():
            raise BadPhoto(f'{path} is transparent in part; save it without alpha')
    if photo.dtype == np.uint8:
        return photo
    if photo.dtype != np.uint16:
        raise BadPhoto(f'{path} holds {photo.dtype}; 8 bits a channel, or 16, are supported')
    return to_8_bits(path, photo, bits)


def to_8_bits(path: Path, photo: np.ndarray, bits: Bits | None) -> np.ndarray:
    """Scale a photo of 16 bits a channel to 8, by the bits that its values have."""
    largest = int(photo.max())
    if bits is None:
        raise BadPhoto(
            f'{path} has 16 bits a channel, of which the largest value is {largest}; give the bits '
            'that its values have, such as --bits 12, or the values of black and white, such as '
            '--bits 200:3000'
        )
    low, high = (0, 2**bits - 1) if isinstance(bits, int) else bits
    if isinstance(bits, int) and largest > high:
        raise BadPhoto(f'{path} holds {largest}, but {bits} bits end at {high}; give more --bits')
    scaled = (photo.astype(np.float32) - low) * np.float32(255 / (high - low))
    return np.rint(scaled.clip(0, 255)).astype(np.uint8)


def is_animated(content: bytes) -> bool:
    """Return whether the first bytes are those of an animated WebP, PNG or AVIF."""
    if content[4:12] == b'ftypavis':
        return True
    start = content[: max(content.find(b'IDAT'), 64)]
    return any(
        content.startswith(kind) and chunk in start
        for kind, chunk in ((b'RIFF', b'ANIM'), (b'\x89PNG', b'acTL'))
    )


TIFF_TAGS = (254, 258, 259, 262, 274, 277, 284, 322, 338, 339)


def tiff_pages(content: bytes) -> list[dict[int, tuple[int, ...]]]:
    """Read the numbers of some tags of each page of a TIFF; empty for another format."""
    pages: list[dict[int, tuple[int, ...]]] = []
    order = {b'II': '<', b'MM': '>'}.get(content[:2])
    with contextlib.suppress(struct.error, KeyError, OverflowError):
        version = struct.unpack_from(f'{order or "<"}H', content, 2)[0] if order else 0
        # Offset of the first list of tags, its count, an offset, all of a tag; 43 is BigTIFF.
        start, count, offset, size = {42: (4, 'H', 'I', 12), 43: (8, 'Q', 'Q', 20)}[version]
        (at,) = struct.unpack_from(f'{order}{offset}', content, start)
        while at and len(pages) < 1000:
            tags: dict[int, tuple[int, ...]] = {}
            (entries,) = struct.unpack_from(f'{order}{count}', content, at)
            at += struct.calcsize(f'={count}')
            for _ in range(entries):
                tag, kind, number = struct.unpack_from(f'{order}HH{offset}', content, at)
                if tag in TIFF_TAGS and kind in (3, 4) and number:
                    form, value = (
                        f'{order}{number}{"HI"[kind - 3]}',
                        at + struct.calcsize(f'=HH{offset}'),
                    )
                    if struct.calcsize(form) > struct.calcsize(f'={offset}'):
                        (value,) = struct.unpack_from(f'{order}{offset}', content, value)
                    tags[tag] = struct.unpack_from(form, content, value)
                at += size
            pages.append(tags)
            (at,) = struct.unpack_from(f'{order}{offset}', content, at)
    return pages


def band_problem(pages: list[dict[int, tuple[int, ...]]]) -> str:
    """Return what is wrong with bands and pages of a TIFF, by its tags; '' if nothing is."""
    if not pages:
        return ''
    # NewSubfileType: 1 is an overview, 4 a mask of transparency.
    if (count := sum(not page.get(254, (0,))[0] & 5 for page in pages)) > 1:
        return f'it holds {count} pages; save the one that counts as a file'
    subfile, bits, compression, color, turned, samples, planar, tiles, extra, kinds = (
        pages[0].get(tag, default)
        for tag, default in zip(
            TIFF_TAGS, ((0,), (1,), (1,), (1,), (1,), (1,), (1,), (), (), ()), strict=True
        )
    )
    if subfile[0] & 1:
        return 'its first page is an overview, which readers take for the image; save it again'
    if 3 in kinds or kinds.count(2) > 1:  # SampleFormat: 2 is signed, 3 a float
        held = 'floating-point values' if 3 in kinds else 'signed integers'
        return f'it holds {held}; 8 bits a channel, or 16, are supported'
    bands = samples[0] - sum(kind in (1, 2) for kind in extra)  # without alpha
    if bands not in (1, 3) and color[0] != 5:  # CMYK
        return f'it has {bands} bands; one (grey) or three (red, green, blue) are supported'
    odd = {
        'planes of its own for each band': samples[0] > 1 and planar[0] == 2,
        'three bands that are not marked as red, green and blue': bands == 3 and color[0] < 2,
        'CIELab colours': color[0] in (8, 9, 10),
        f'colours of {max(bits)} bits': bands == 3 and max(bits) not in (8, 16),
        'inverted grey of 16 bits': max(bits) > 8 and color[0] == 0,
        'grey of 16 bits with alpha': max(bits) > 8 and bands == 1 < samples[0],
        'turned tiles': bool(tiles) and turned[0] != 1,
        'a compression that is not supported': compression[0] in (34712, 34892, 50001, 50002),
    }
    found = next((what for what, is_so in odd.items() if is_so), '')
    return found and f'it has {found}; save it again, as a plain RGB TIFF or PNG'


def is_cut_off(content: bytes) -> bool:
    """Return whether a JPEG lacks its end; thumbnails before the image data have one too."""
    at = 2
    while content[at : at + 1] == b'\xff' and content[at + 1 : at + 2] != b'\xda':
        if content[at + 1 : at + 2] == b'\xff':  # fills up
            at += 1
            continue
        at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return content.startswith(b'\xff\xd8') and content.rfind(b'\xff\xd9', at) < 0


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a file that is either complete under its name or absent."""
    part = path.with_name(f'.{secrets.token_hex(4)}.part')
    try:
        part.write_bytes(cv2.imencode('.png', image)[1].tobytes())
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def predict(args: argparse.Namespace) -> int:
    """Label every photo; the exit status is 1 if one was skipped."""
    network = Network(args.model)
    if network.licence:
        print(f'{args.model}: {network.licence}')
    if args.color and not len(network.palette):
        raise ValueError(
            f'--color: {args.model} has no colours; export it with a config or a checkpoint that '
            'names its classes'
        )
    if args.out.is_file():
        raise ValueError(f'--out {args.out} is a file; give a directory')
    if args.max_side is not None:
        if args.max_side < 0:
            raise ValueError(f'--max-side {args.max_side}: give pixels from 0 up')
        network.max_side = args.max_side
    network.bits = args.bits or network.bits
    jobs = plan(find_photos(args.inputs), args.out, color=args.color)
    args.out.mkdir(parents=True, exist_ok=True)
    if network.size:
        height, width = network.size
        print(
            f'{args.model} takes {height}x{width} only: photos of another size are resized to it, '
            'and their labels back; export with --dynamic for any size'
        )
    elif network.max_side:
        print(
            f'photos with a side above {network.max_side} pixels are shrunk to it for the network, '
            'and their labels enlarged again (--max-side 0: never)'
        )
    bad = 0
    for path, outputs in jobs:
        try:
            photo = read_photo(path, network.bits)
            try:
                labels = network.label(photo)
            except Exception as error:  # onnxruntime's errors have no common base
                text = ' '.join(str(error).split())[-300:]
                raise BadPhoto(f'{path} cannot be labelled: {text}') from None
        except BadPhoto as error:
            bad += 1
            print(f'predict_onnx: {error}', file=sys.stderr)
            continue
        try:
            write_png(outputs[0], labels)
            if args.color:
                write_png(outputs[1], network.palette[labels][..., ::-1])
        except OSError as error:
            print(f'predict_onnx: {outputs[0]} cannot be written: {error}', file=sys.stderr)
            return 1
    print(f'{len(jobs) - bad} of {len(jobs)} photos are labelled in {args.out}')
    if bad:
        print(f'predict_onnx: skipped, each named above: {bad}', file=sys.stderr)
    return 1 if bad else 0


def parse_bits(text: str) -> Bits:
    """Parse ``12``, bits, or ``200:3000``, the values that become black and white."""
    low, _, high = text.partition(':')
    if low.isdecimal() and high.isdecimal() and int(low) < int(high) < 2**16:
        return int(low), int(high)
    if high or not low.isdecimal() or not 8 <= int(low) <= 16:
        raise argparse.ArgumentTypeError(
            f'{text!r}: expected 8 to 16 bits, or the values of black and white such as 200:3000'
        )
    return int(low)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Label photos with an exported network: onnxruntime, no torch.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('model', metavar='MODEL.onnx', type=Path, help='file of export_onnx.py')
    add('inputs', metavar='PHOTO', type=Path, nargs='+',
        help=f'photos, or directories with photos directly in them ({" ".join(SUFFIXES)})',
    )  # fmt: skip
    add('--out', metavar='DIR', type=Path, required=True, help='output directory')
    add('--color', action='store_true', help='write NAME_color.png too, in the class colours')
    add('--max-side', type=int, metavar='PIXELS', help='shrink photos with a longer side to this '
        'for the network (default: longer side of the largest training photos, if the file has '
        'it; 0: never)',
    )  # fmt: skip
    add('--bits', type=parse_bits, metavar='N|LOW:HIGH',
        help='bits that the values of 16-bit photos have, such as 12, or the values that become '
        'black and white',
    )  # fmt: skip
    add('--debug', action='store_true', help='show where an error comes from')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command: 2 for unusable arguments, 1 for skipped photos, 130 after Ctrl-C."""
    args = parse_args(argv)
    try:
        return predict(args)
    except (OSError, ValueError) as error:
        if args.debug:
            raise
        print(f'predict_onnx: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'predict_onnx: interrupted; {args.out} holds no partial file', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
