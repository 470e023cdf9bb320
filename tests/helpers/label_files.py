"""Photos and label maps, written to files and read."""

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from helpers.pairs import META, coloured, label_map, photo
from pspnet_plugin.datasets import PairsDataset


def save(path: Path, array: np.ndarray, *, table=None) -> None:
    """Write an (H, W) or (H, W, 3) RGB array; with a colour table, in palette mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if table is not None:
        image.putpalette(np.array(table, np.uint8).ravel().tolist())
    image.save(path)


def save_grey(path: Path, values: np.ndarray, *, bits: int) -> None:
    """Write (H, W) values as a grey PNG of 2 or 4 bits: Pillow's palette PNG of another type."""
    image = Image.fromarray(values)
    image.putpalette(range(3 << bits))
    image.save(path, bits=bits)
    content = bytearray(path.read_bytes())
    content[25] = 0
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, 'big')
    path.write_bytes(content)


def maps(count: int) -> dict[str, np.ndarray]:
    """Return label maps of three classes in train and val, 24 x 40, with a stripe of 255."""
    made = {}
    for number in range(count):
        labels = label_map(24, 40, classes=3, seed=number)
        labels[:, 3:6] = 255
        made[f'{"val" if number % 3 == 2 else "train"}/{number}'] = labels
    return made


def write_photos(folder: Path, labels: dict[str, np.ndarray], suffix='.png') -> None:
    for seed, (name, values) in enumerate(labels.items()):
        save(folder / f'{name}{suffix}', photo(*values.shape, seed=seed)[..., ::-1])


def write_sources(folder: Path, labels: dict[str, np.ndarray], write=save) -> list:
    """Write photos and label maps; return arguments of ``folders``, the third of which is OUT."""
    write_photos(folder / 'photos', labels)
    for name, values in labels.items():
        write(folder / 'maps' / f'{name}.png', values)
    palette = folder / 'palette.json'
    palette.write_text(json.dumps(META))
    return [folder / 'photos', folder / 'maps', folder / 'out', '--palette', palette]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*.[pj][np]g')}


def with_colors(labels: np.ndarray) -> np.ndarray:
    """Paint a label map in the colours of ``META``, (H, W, 3) RGB."""
    colors = META['palette'] + META['void_palette']
    return coloured(np.where(labels == 255, 3, labels), colors)[..., ::-1]


def read_back(out: Path, *splits: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read photo (RGB) and labels of the pairs by the dataset, with their metainfo."""
    found = {}
    for split in splits or ('train', 'val'):
        dataset = PairsDataset(
            data_root=str(out),
            data_prefix=dict(img_path=split),
            metainfo=str(out / 'metainfo.json'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        )
        for record in map(dataset.__getitem__, range(len(dataset))):
            name = f'{split}/{Path(record["img_path"]).stem}'
            found[name] = record['img'][..., ::-1], record['gt_seg_map']
    return found


def read(path) -> np.ndarray:
    """Read an image as it is stored."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def write_tiff(path: Path, array: np.ndarray, *, tags: dict[int, int] | None = None) -> None:
    """Write (H, W, bands) values as an uncompressed TIFF with any number of bands.

    ``tags`` of TIFF 6.0 are added, such as 338, the kind of a band beyond the third.
    """
    height, width, bands = array.shape
    bits = 8 * array.itemsize
    kinds = {'u': 1, 'i': 2, 'f': 3}
    values = {
        256: width, 257: height, 259: 1, 262: 2 if bands > 2 else 1, 273: 8, 277: bands,
        278: height, 279: array.nbytes, 339: [kinds[array.dtype.kind]] * bands,
        258: [bits] * bands, **(tags or {}),
    }  # fmt: skip
    data = array.tobytes()
    lists, entries = b'', b''
    for tag, value in sorted(values.items()):
        listed = value if isinstance(value, list) else [value]
        long = tag in (273, 279)
        packed = struct.pack(f'<{len(listed)}{"I" if long else "H"}', *listed)
        if len(packed) > 4:
            at = 8 + len(data) + len(lists)
            lists, packed = lists + packed, struct.pack('<I', at)
        entries += struct.pack('<HHI', tag, 4 if long else 3, len(listed)) + packed.ljust(4, b'\0')
    start = 8 + len(data) + len(lists)
    head = struct.pack('<2sHI', b'II', 42, start)
    directory = struct.pack('<H', len(values)) + entries + bytes(4)
    path.write_bytes(head + data + lists + directory)
