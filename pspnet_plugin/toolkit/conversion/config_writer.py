"""A config that trains on somebody's own pairs, as text: data, classes, weights, sizes.

It takes over ``configs/psp_cpu25_cityscapes_pairs.py``: the recommended network, by the clock.
"""

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pspnet_plugin.toolkit.conversion.label_maps import Legend, read_labels
from pspnet_plugin.toolkit.conversion.photo_folders import Matched
from pspnet_plugin.utils.jobs import write_atomic

BASE = 'psp_cpu25_cityscapes_pairs.py'
# Label maps that the shares of the classes are counted in, evenly spaced.
COUNTED = 500
# Of each class's share of the pixels; what BASE has, for its own classes.
POWER = -0.3
# Pixels on the longer side of the largest photos that BASE trains on; pairs need no more.
SEEN = 512
# Of pairs that are not split, every so many-th is held out (see ``folds`` of the datasets).
FOLDS = 10
# Seconds that a validation takes: to begin, and for 65,536 pixels on two cores.
STARTING, A_PICTURE = 10, 0.09


@dataclass(frozen=True)
class OwnPairs:
    """What a config has to know of pairs.

    Attributes:
        root: Folder of the pairs, as it is named where trainings start.
        count: How many there are.
        held_out: How many of them there are to validate on.
        size: (width, height) of most of the photos.
        classes: How many.
        weights: Of the classes in the loss.
        split: Whether there are folders ``train`` and ``val``.
    """

    root: str
    count: int
    held_out: int
    size: tuple[int, int]
    classes: int
    weights: Sequence[float]
    split: bool


def class_weights(labels: Sequence[Path], legend: Legend) -> list[float]:
    """Weights by which rare classes count more, but far less than their rarity.

    Args:
        labels: Label maps; ``COUNTED`` of them are read, and those that cannot be are left out.
        legend: What their values mean.

    Returns:
        For each class its share of the pixels to the power of -0.3, scaled so that the mean over
        the pixels is 1; a class that was not met has the weight of the rarest.
    """
    pixels = np.zeros(legend.classes)
    for path in labels[:: max(len(labels) // COUNTED, 1)]:
        try:
            found = read_labels(path, legend)
        except (OSError, ValueError):  # named where the pair is made
            continue
        pixels += np.bincount(found.ravel(), minlength=256)[: legend.classes]
    if not pixels.any():
        return [1.0] * legend.classes
    shares = pixels / pixels.sum()
    weights = np.where(shares > 0, shares, shares[shares > 0].min()) ** POWER
    return [round(float(weight), 2) for weight in weights / (weights * shares).sum()]


def survey(out: Path, matched: Matched, legend: Legend, *, suffix: str) -> OwnPairs:
    """What a config has to know of pairs that were made.

    Args:
        out: Their folder.
        matched: What they were made of.
        legend: What the values of their label maps mean.
        suffix: Of the pairs' files.

    Raises:
        ValueError: none can be held out, or there is one class alone.
    """
    if legend.classes == 1:
        raise ValueError(
            'there is one class alone, and everything would be taken for it; name what is not it '
            'as a class too, such as background'
        )
    pairs = [path for name in matched.files if (path := out / f'{name}{suffix}').is_file()]
    sizes = Counter(_size(path) for path in pairs[:: max(len(pairs) // COUNTED, 1)])
    names = [*matched.files, *matched.lonely]
    split = {'train', 'val'} <= {name.split('/')[0] for name in names if '/' in name}
    tops = [path.relative_to(out).parts[0] for path in pairs]
    if split and (empty := [name for name in ('train', 'val') if name not in tops]):
        raise ValueError(f'{out} holds no pair in {empty[0]}; mend what is said of them')
    if len(pairs) < 2:
        raise ValueError(f'{out} holds {len(pairs)} pairs; a config needs 2, to hold one out')
    return OwnPairs(
        root=out.as_posix(),
        count=len(pairs),
        held_out=tops.count('val') if split else max(len(pairs) // FOLDS, 1),
        size=sizes.most_common(1)[0][0],
        classes=legend.classes,
        weights=class_weights([labels for _, labels in matched.files.values()], legend),
        split=split,
    )


def _size(pair: Path) -> tuple[int, int]:
    try:
        with Image.open(pair) as picture:
            return picture.width // 2, picture.height
    except Image.DecompressionBombError:  # only its size is asked for
        return SEEN, SEEN


def write_config(pairs: OwnPairs, path: Path, *, configs: Path) -> str:
    """The text of a config.

    Args:
        pairs: What it trains on.
        path: Where it will be.
        configs: Folder of ``BASE``.

    Raises:
        ValueError: a path has what means something else in configs.
    """
    base = Path(os.path.relpath(configs / BASE, path.absolute().parent)).as_posix()
    metainfo = f'{pairs.root}/metainfo.json'
    if '{{' in pairs.root + base:
        raise ValueError(f'{pairs.root}: {{{{ has a meaning in configs; give names without it')
    width, height = pairs.size
    seconds = STARTING + A_PICTURE * pairs.held_out * width * height / 2**16
    text = CONFIG.format(
        root=pairs.root,
        metainfo=metainfo,
        base=base,
        classes=pairs.classes,
        weights=', '.join(f'{weight:g}' for weight in pairs.weights),
        train=_part(pairs, 'train'),
        val=_part(pairs, 'val'),
        split='' if pairs.split else SPLIT_NOTE,
        reserve=round(seconds),
    )
    return f'{HEAD}{_digest(text)}.\n{text}'


def keep_config(pairs: OwnPairs, path: Path, *, configs: Path) -> str:
    """Writes a config, unless somebody has changed the one that is there; returns what was done.

    Args:
        pairs: What it trains on.
        path: The file; its folder exists.
        configs: Folder of ``BASE``.

    Raises:
        ValueError: see ``write_config``.
    """
    text = write_config(pairs, path, configs=configs)
    how = 'in val' if pairs.split else 'every tenth (folders train and val would be kept apart)'
    said = [f'held out, to be scored on: {pairs.held_out} of {pairs.count} pairs, {how}']
    before = path.read_text() if path.exists() else ''
    if not before or _is_unchanged(before):
        write_atomic(path, text.encode())
        return '\n'.join([*said, f'config: {path}'])
    said.append(f'config: {path} was changed by hand, and stays; of these pairs it would have')
    differing = difflib.ndiff(before.splitlines(), text.splitlines())
    lines = (line[2:] for line in differing if line.startswith('+ '))
    return '\n'.join([*said, *(f'  {line}' for line in lines if not line.startswith(HEAD))])


def _is_unchanged(config: str) -> bool:
    head, _, text = config.partition('\n')
    return head == f'{HEAD}{_digest(text)}.'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _part(pairs: OwnPairs, name: str) -> str:
    if pairs.split:
        return f'data_prefix=dict(img_path={name!r})'
    *trained, held_out = range(min(FOLDS, pairs.count))
    return f"data_prefix=dict(img_path=''), folds={trained if name == 'train' else [held_out]}"


SPLIT_NOTE = """# Every tenth pair is held out and scored on. Frames of one drive had better be on
# one side: then make folders train and val of them.
"""
# By what follows it, a config that nobody has changed is known.
HEAD = '# Written by make_pairs.py, and yours to change: '
CONFIG = """# Trains on pairs by the clock.
_base_ = {base!r}

pairs = dict(
    _delete_=True,
    type='PairsDataset',
    data_root={root!r},
    metainfo={metainfo!r},
)
{split}train_dataloader = dict(
    dataset=dict(**pairs, {train}, pipeline={{{{_base_.train_pipeline}}}})
)
val_dataloader = dict(
    batch_size=1,  # photos of one batch must have one size
    dataset=dict(**pairs, {val}, pipeline={{{{_base_.test_pipeline}}}}, test_mode=True),
)
test_dataloader = val_dataloader
# Scored on the labels as the datasets read them.
val_evaluator = dict(_delete_=True, type='ClasswiseIoUMetric', iou_metrics=['mIoU', 'mDice'])
test_evaluator = val_evaluator
# Shares of the classes to the power of -0.3, scaled: rare ones count more. None: all the same.
class_weight = [{weights}]
model = dict(
    decode_head=dict(num_classes={classes}, loss_decode=dict(class_weight=class_weight))
)
# Seconds of the minutes that the last validation is thought to take.
train_cfg = dict(reserve={reserve})
default_hooks = dict(checkpoint=dict(interval=100))
"""
