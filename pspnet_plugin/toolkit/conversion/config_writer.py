"""A config, as text, that trains on a user's own pairs: data, classes, weights and sizes.

It inherits a time-limited training of ``configs``: for street classes one that starts from the
zoo's network, for others from ImageNet weights where they are installed.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pspnet_plugin.engine.pretrained import find_weights
from pspnet_plugin.labels.palettes import CITYSCAPES
from pspnet_plugin.toolkit.conversion.class_pixels import count_pixels, sample
from pspnet_plugin.toolkit.conversion.label_format import LabelFormat
from pspnet_plugin.toolkit.conversion.matching import MatchedPhotos
from pspnet_plugin.utils.files import write_atomic

TEMPLATE = Path(__file__).with_name('own_config.txt')
FROM_SCRATCH = 'psp_cpu25_cityscapes_pairs.py'
PRETRAINED = 'psp_efficientnet-lite2_cpu25_cityscapes_pairs.py'
FINETUNED = 'psp_efficientnet-lite2_finetune_cpu25_cityscapes_pairs.py'
STARTS = {
    FINETUNED: "from the zoo's network for streets",
    PRETRAINED: 'from ImageNet weights',
    FROM_SCRATCH: 'from scratch',
}
WEIGHTS = 'efficientnet-lite2'
# Names of street classes, in Cityscapes and in other sets.
STREET_NAMES = {
    *CITYSCAPES['classes'], 'bicyclist', 'bike', 'column pole', 'cyclist', 'lane marking',
    'motorbike', 'motorcyclist', 'pavement', 'pedestrian', 'sign', 'sign symbol', 'tree', 'van',
    'vehicle',
}  # fmt: skip
LARGEST_SIDE = 512  # pixels on the longer side of pairs, which both bases reach in training
TEST_SIDE = 320  # to which the longer side of smaller photos is enlarged in tests there
WEIGHT_POWER = -0.3  # of a class's share of the pixels, as from scratch
FOLDS = 10  # one of so many pairs is held out if they are not split
# Seconds of a validation, and for 65,536 pixels that the network sees, on two cores.
VAL_STARTUP, VAL_TILE = 10, 0.09


def class_weights(labels: Sequence[Path], label_format: LabelFormat) -> list[float]:
    """Compute loss weights that raise rare classes, but by far less than their rarity.

    A weight is the class's share of the pixels to the power of -0.3, scaled so that the mean over
    the pixels is 1. A class without pixels gets the weight of the rarest.
    """
    pixels = np.zeros(label_format.num_classes)
    for path in sample(labels):
        pixels += count_pixels(path, label_format=label_format)
    if not pixels.any():
        return [1.0] * len(pixels)
    shares = pixels / pixels.sum()
    weights = np.where(shares > 0, shares, shares[shares > 0].min()) ** WEIGHT_POWER
    return [round(float(weight), 2) for weight in weights / (weights * shares).sum()]


def update_config(
    path: Path,
    out: Path,
    matched: MatchedPhotos,
    label_format: LabelFormat,
    *,
    classes: Sequence[str],
    suffix: str,
    configs: Path,
) -> str:
    """Write a config for the pairs in ``out``, unless it was changed by hand; return a message.

    ``ValueError``: no pair can be held out, there is only one class, or a path has characters with
    a meaning in configs.
    """
    if label_format.num_classes == 1:
        raise ValueError('there is only one class. Name the rest as a class too, e.g. background')
    pairs = [file for name in matched.files if (file := out / f'{name}{suffix}').is_file()]
    splits = matched.splits()
    if splits and 'train' not in splits:
        raise ValueError(f'{out} has {" and ".join(sorted(splits))} alone; give a train too')
    split = 'val' in splits
    tops = [file.relative_to(out).parts[0] for file in pairs]
    if empty := [name for name in ('train', 'val') if name in splits and name not in tops]:
        raise ValueError(f'{out} holds no pair in {empty[0]}. Fix the files reported above')
    if splits:
        pairs = [file for file, top in zip(pairs, tops, strict=True) if top in ('train', 'val')]
    if len(pairs) < 2:
        raise ValueError(f'{out} holds {len(pairs)} pairs; a config needs 2, to hold one out')
    name = _choose_base(path, classes)
    base = Path(os.path.relpath(configs / name, path.absolute().parent)).as_posix()
    if '{{' in f'{out}{base}':
        raise ValueError(f'{out}: {{{{ has a meaning in configs. Give names without it')
    if split:
        train, val = (f'data_prefix=dict(img_path={name!r})' for name in ('train', 'val'))
        how, held_out = 'in val', tops.count('val')
    else:
        *folds, last = range(min(FOLDS, len(pairs)))
        prefix = 'train' if splits else ''
        train, val = (
            f'data_prefix=dict(img_path={prefix!r}), folds={part}' for part in (folds, [last])
        )
        how = 'every tenth (directories train and val are kept as they are)'
        held_out = max(len(pairs) // FOLDS, 1)
    width, height = max((_half_size(file) for file in sample(pairs)), key=max)
    scale = 1 if name == FROM_SCRATCH else max(TEST_SIDE / max(width, height), 1)
    others = {'val', 'test'} & splits
    labels = [file for name, (_, file) in matched.files.items() if name.split('/')[0] not in others]
    weights = class_weights(labels, label_format)
    text = TEMPLATE.read_text(encoding='utf-8').format(
        root=out.as_posix(), metainfo=f'{out.as_posix()}/metainfo.json', base=base,
        backbone='' if name == FROM_SCRATCH else TEST_SCALE.format(f'{scale:.3g}'),
        classes=len(weights), weights=', '.join(f'{weight:g}' for weight in weights),
        train=train, val=val, split='' if split else SPLIT_NOTE,
        start=START_NOTE.format(start=STARTS[name]),
        reserve=round(VAL_STARTUP + VAL_TILE * held_out * width * height * scale**2 / 2**16),
    )  # fmt: skip
    message = (
        f'held out for validation: {held_out} of {len(pairs)} pairs, {how}\n'
        f'config, {STARTS[name]}: {path}'
    )
    return _write_unless_changed(path, text, message)


def _write_unless_changed(path: Path, text: str, message: str) -> str:
    before = path.read_text(encoding='utf-8') if path.exists() else ''
    head, _, rest = before.partition('\n')
    if not before or head == _head(rest):
        write_atomic(path, f'{_head(text)}\n{text}'.encode())
        return message
    changes = difflib.ndiff(before.splitlines(), text.splitlines())
    added = [line[2:] for line in changes if line.startswith('+ ')]
    lines = [f'{message} was changed by hand and is kept; for these pairs it would have', *added]
    return '\n  '.join(lines)


def _choose_base(path: Path, classes: Sequence[str]) -> str:
    """Choose the config to inherit: as before, or by the classes and by what is installed."""
    before = path.read_text('utf-8') if path.exists() else ''
    for name in STARTS:
        if re.search(rf'^_base_ = .*{re.escape(name)}', before, re.M):
            return name
    # Also SignSymbol and sign-symbol.
    words = (re.sub('[-_]|(?<=[a-z])(?=[A-Z])', ' ', name).lower() for name in classes)
    street = [word for word in words if word in STREET_NAMES]
    if 'road' in street and (len(street) > 3 or len(street) == len(classes) > 2):
        return FINETUNED
    try:
        find_weights(WEIGHTS)
    except ModuleNotFoundError:
        return FROM_SCRATCH
    return PRETRAINED


def _half_size(pair: Path) -> tuple[int, int]:
    try:
        with Image.open(pair) as image:
            return image.width // 2, image.height
    except Image.DecompressionBombError:
        return LARGEST_SIDE, LARGEST_SIDE


def _head(text: str) -> str:
    """Return the first line, whose digest tells whether the text below it was changed by hand."""
    return f'{HEAD}{hashlib.sha256(text.encode()).hexdigest()[:12]}.'


HEAD = '# Written by make_pairs.py, and yours to change: '
START_NOTE = f"""# Starts {{start}}. All starts, by their names in _base_:
# - {FINETUNED}: {STARTS[FINETUNED]}
# - {PRETRAINED}: {STARTS[PRETRAINED]}
#   (pip install 'pspnet-plugin[pretrained]')
# - {FROM_SCRATCH}: {STARTS[FROM_SCRATCH]}, without the line of the backbone below"""
TEST_SCALE = """
    # Photos below 320 pixels are enlarged for it, nearer to the scales that it is trained at.
    backbone=dict(test_scale={}),"""
SPLIT_NOTE = """# Every tenth pair is held out for validation. Frames of one video should be on one
# side: if these are some, sort the photos and label maps into directories train and val.
"""
