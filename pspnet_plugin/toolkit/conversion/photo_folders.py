"""Which photo goes with which label map: any two folders, and the layout of Cityscapes."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmengine import fileio

from pspnet_plugin.datasets.pairs_dataset import CityscapesPairsDataset
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.conversion.label_maps import Legend, plain_legend
from pspnet_plugin.utils.natural_order import natural_key
from pspnet_plugin.utils.output_directory import IMAGE_SUFFIXES

PICTURES = (*IMAGE_SUFFIXES, '.tif', '.tiff', '.gif')
SPLITS = ('train', 'val')

# Kinds of Cityscapes label maps; the first carries most.
LABEL_KINDS = ('labelIds', 'labelTrainIds', 'color')
# The class index of every id of Cityscapes, and the colour of an id that is no train class: table
# `labels` in cityscapesscripts/helpers/labels.py of https://github.com/mcordts/cityscapesScripts.
# Two ids that are no train class have the colour of one there, 18 (polegroup) that of pole and
# -1 (license plate, 255 in 8 bits) that of car; black keeps them ignored.
_BLACK = (0, 0, 0)
CITYSCAPES_IDS = {
    0: _BLACK, 1: _BLACK, 2: _BLACK, 3: _BLACK, 4: _BLACK, 5: (111, 74, 0), 6: (81, 0, 81),
    7: 0, 8: 1, 9: (250, 170, 160), 10: (230, 150, 140), 11: 2, 12: 3, 13: 4,
    14: (180, 165, 180), 15: (150, 100, 100), 16: (150, 120, 90), 17: 5, 18: _BLACK, 19: 6, 20: 7,
    21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 29: (0, 0, 90), 30: (0, 0, 110),
    31: 16, 32: 17, 33: 18, 255: _BLACK,
}  # fmt: skip


@dataclass(frozen=True)
class Matched:
    """Photos with their label maps.

    Args:
        files: By name (path below the folder, ``/`` between parts, no suffix), in natural order:
            photo and label map.
        lonely: Names of photos that have no label map.
        spare: How many label maps have no photo.
    """

    files: dict[str, tuple[Path, Path]]
    lonely: list[str]
    spare: int = 0


def match_folders(
    photos: Path, labels: Path, *, photo_suffix: str = '', label_suffix: str = ''
) -> Matched:
    """Photos and label maps that have the same name below their folders.

    Args:
        photos: Folder of the photos, sub-folders included.
        labels: Folder of the label maps.
        photo_suffix: End of the photos' names that is not part of the common name, with or without
            ``.png``; files that end otherwise do not count.
        label_suffix: The same of the label maps.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: none match, or a name stands for two files.
    """
    by_photo = _by_name(photos, photo_suffix, option='--img-suffix')
    by_labels = _by_name(labels, label_suffix, option='--ann-suffix')
    names = sorted(by_photo, key=natural_key)
    files = {name: (by_photo[name], by_labels[name]) for name in names if name in by_labels}
    if not files:
        raise ValueError(
            f'no photo of {photos} has a label map in {labels}: e.g. {names[0]!r} here, '
            f'{min(by_labels, key=natural_key)!r} there. The names must be the same up to the ends '
            'that --img-suffix and --ann-suffix give'
        )
    lonely = [name for name in names if name not in by_labels]
    return Matched(files, lonely, len(by_labels) - len(files))


def match_cityscapes(root: Path, kind: str | None) -> tuple[Matched, str]:
    """Photos and label maps of the official layout, by ``train/NAME`` and ``val/NAME``.

    Args:
        root: Folder of ``leftImg8bit`` and ``gtFine``.
        kind: One of ``LABEL_KINDS``; None takes the first that exists.

    Returns:
        What matches, and the kind of labels.

    Raises:
        FileNotFoundError: the layout is another, or there are no labels (of that kind).
        ValueError: two photos have the same name.
    """
    splits = [split for split in SPLITS if (root / 'leftImg8bit' / split).is_dir()]
    if not splits:
        raise FileNotFoundError(
            f'{root / "leftImg8bit" / "train"}: no such folder, nor val; ROOT is the folder with '
            'leftImg8bit/{train,val}/CITY/*.png and gtFine/{train,val}/CITY/*.png'
        )
    wanted = (kind,) if kind else LABEL_KINDS
    folders = [root / 'gtFine' / split for split in splits]
    found = [k for k in wanted if any(any(f.glob(f'*/*_gtFine_{k}.png')) for f in folders)]
    if not found:
        raise FileNotFoundError(
            f'{root}/gtFine/{{train,val}}/CITY: no file *_gtFine_{"|".join(wanted)}.png; unpack '
            'gtFine_trainvaltest.zip there, or name another kind by --labels'
        )
    kind = found[0]
    files, lonely, spare = {}, [], 0
    for split in splits:
        below = match_folders(
            root / 'leftImg8bit' / split,
            root / 'gtFine' / split,
            photo_suffix='_leftImg8bit.png',
            label_suffix=f'_gtFine_{kind}.png',
        )
        lonely += [f'{split}/{name}' for name in below.lonely]
        spare += below.spare
        for name, both in below.files.items():
            flat = f'{split}/{PurePosixPath(name).name}'
            if flat in files:
                raise ValueError(
                    f'{files[flat][0]} and {both[0]} would both become {flat}; rename one of them'
                )
            files[flat] = both
    return Matched(files, lonely, spare), kind


def cityscapes_legend(kind: str) -> Legend:
    """What a kind of Cityscapes label maps holds, in the colours of ``CityscapesPairsDataset``."""
    plain = plain_legend(CityscapesPairsDataset.METAINFO)
    if kind != 'labelIds':
        return plain
    positions = [IGNORE_INDEX] * 256
    for index, meaning in CITYSCAPES_IDS.items():
        known = isinstance(meaning, int)
        positions[index] = meaning if known else plain.colors.index(meaning)
    return Legend(plain.colors, plain.classes, tuple(positions))


def _by_name(folder: Path, suffix: str, *, option: str) -> dict[str, Path]:
    """Pictures of a folder by their name without ``suffix``."""
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder')
    found = {}
    for entry in fileio.list_dir_or_file(str(folder), list_dir=False, recursive=True):
        stem, dot, _ = entry.rpartition('.')
        if not entry.lower().endswith(PICTURES):
            continue
        if stem.endswith(suffix):
            name = stem.removesuffix(suffix)
        elif entry.endswith(suffix):
            name = entry.removesuffix(suffix)
        else:
            continue
        if name in found:
            raise ValueError(
                f'{found[name]} and {folder / entry} have the same name; take one away, or give '
                f'{option} with the end of those that count'
            )
        found[name] = folder / entry
    if not found:
        ends = f'ending in {suffix!r} ' if suffix else ''
        raise ValueError(
            f'{folder}: no picture {ends}in it or its sub-folders ({", ".join(PICTURES)})'
        )
    return found
