"""Photos matched with their label maps, in any two directories or the layout of Cityscapes."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmengine import fileio

from pspnet_plugin.datasets.pairs_dataset import CityscapesPairsDataset
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.conversion.label_maps import LabelFormat
from pspnet_plugin.utils.natural_order import natural_key
from pspnet_plugin.utils.output_directory import IMAGE_SUFFIXES

SOURCE_SUFFIXES = (*IMAGE_SUFFIXES, '.tif', '.tiff', '.gif')
SPLITS = ('train', 'val')

# Kinds of Cityscapes label maps; the first carries most.
LABEL_KINDS = ('labelIds', 'labelTrainIds', 'color')
# Class index of each Cityscapes id, or the colour of an id that is no train class: table `labels`
# in cityscapesscripts/helpers/labels.py of https://github.com/mcordts/cityscapesScripts.
# Two ids that are no train class have the colour of one there, 18 (polegroup) that of pole and
# -1 (license plate, 255 in 8 bits) that of car; black keeps them ignored.
_BLACK = (0, 0, 0)
CITYSCAPES_IDS: dict[int, int | tuple[int, int, int]] = {
    0: _BLACK, 1: _BLACK, 2: _BLACK, 3: _BLACK, 4: _BLACK, 5: (111, 74, 0), 6: (81, 0, 81),
    7: 0, 8: 1, 9: (250, 170, 160), 10: (230, 150, 140), 11: 2, 12: 3, 13: 4,
    14: (180, 165, 180), 15: (150, 100, 100), 16: (150, 120, 90), 17: 5, 18: _BLACK, 19: 6, 20: 7,
    21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 29: (0, 0, 90), 30: (0, 0, 110),
    31: 16, 32: 17, 33: 18, 255: _BLACK,
}  # fmt: skip


@dataclass(frozen=True)
class MatchedPhotos:
    """Photos and label maps by name: path below the directory, ``/`` between parts, no suffix."""

    files: dict[str, tuple[Path, Path]]  # photo and label map, in natural order
    unmatched: list[str]  # photos without a label map
    unused_maps: int  # number of label maps without a photo


def match_folders(
    photos: Path, labels: Path, *, photo_suffix: str = '', label_suffix: str = ''
) -> MatchedPhotos:
    """Match photos and label maps that have the same name below their directories.

    Args:
        photos: Directory of the photos, sub-directories included.
        labels: Directory of the label maps.
        photo_suffix: End of the photos' names, with or without ``.png``, that is not part of the
            common name; files that end otherwise do not count.
        label_suffix: The same for label maps.

    ``FileNotFoundError``: a directory is missing. ``ValueError``: none match, or a name stands for
    two files.
    """
    by_photo = _by_name(photos, photo_suffix, option='--img-suffix')
    by_labels = _by_name(labels, label_suffix, option='--ann-suffix')
    names = sorted(by_photo, key=natural_key)
    files = {name: (by_photo[name], by_labels[name]) for name in names if name in by_labels}
    if not files:
        raise ValueError(
            f'no photo of {photos} has a label map in {labels}: e.g. {names[0]!r} here, '
            f'{min(by_labels, key=natural_key)!r} there. Their names must be equal except for the '
            'ends that --img-suffix and --ann-suffix give'
        )
    unmatched = [name for name in names if name not in by_labels]
    return MatchedPhotos(files, unmatched, len(by_labels) - len(files))


def match_cityscapes(root: Path, kind: str | None) -> tuple[MatchedPhotos, str]:
    """Match photos and label maps of the official layout, as ``train/NAME`` and ``val/NAME``.

    ``kind`` is one of ``LABEL_KINDS``; None takes the first that exists. Returns it, too.

    ``FileNotFoundError``: the layout is another, or there are no labels (of that kind).
    ``ValueError``: two photos have the same name.
    """
    splits = [split for split in SPLITS if (root / 'leftImg8bit' / split).is_dir()]
    if not splits:
        raise FileNotFoundError(
            f'{root / "leftImg8bit" / "train"}: no such directory, nor val. Give the directory '
            'with leftImg8bit/{train,val}/CITY/*.png and gtFine/{train,val}/CITY/*.png'
        )
    wanted = (kind,) if kind else LABEL_KINDS
    folders = [root / 'gtFine' / split for split in splits]
    kinds = [k for k in wanted if any(any(f.glob(f'*/*_gtFine_{k}.png')) for f in folders)]
    if not kinds:
        raise FileNotFoundError(
            f'{root}/gtFine/{{train,val}}/CITY: no file *_gtFine_{"|".join(wanted)}.png. Unpack '
            'gtFine_trainvaltest.zip there, or name another kind by --labels'
        )
    files: dict[str, tuple[Path, Path]] = {}
    unmatched, unused = [], 0
    for split in splits:
        one = match_folders(
            root / 'leftImg8bit' / split, root / 'gtFine' / split,
            photo_suffix='_leftImg8bit.png', label_suffix=f'_gtFine_{kinds[0]}.png',
        )  # fmt: skip
        unmatched += [f'{split}/{name}' for name in one.unmatched]
        unused += one.unused_maps
        for name, both in one.files.items():
            flat = f'{split}/{PurePosixPath(name).name}'
            if flat in files:
                raise ValueError(
                    f'{files[flat][0]} and {both[0]} would both become {flat}. Rename one of them'
                )
            files[flat] = both
    return MatchedPhotos(files, unmatched, unused), kinds[0]


def cityscapes_format(kind: str) -> LabelFormat:
    """Format of one of ``LABEL_KINDS``, in the colours of ``CityscapesPairsDataset``."""
    plain = LabelFormat.from_metainfo(CityscapesPairsDataset.METAINFO)
    if kind != 'labelIds':
        return plain
    table = [IGNORE_INDEX] * 256
    for index, meaning in CITYSCAPES_IDS.items():
        table[index] = meaning if isinstance(meaning, int) else plain.colors.index(meaning)
    return LabelFormat(plain.colors, plain.num_classes, tuple(table))


def _by_name(folder: Path, suffix: str, *, option: str) -> dict[str, Path]:
    """Map names without ``suffix`` to the images of a directory."""
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such directory')
    images: dict[str, Path] = {}
    for entry in fileio.list_dir_or_file(str(folder), list_dir=False, recursive=True):
        stem = entry.rpartition('.')[0]
        end = next((part for part in (stem, entry) if part.endswith(suffix)), None)
        if end is None or not entry.lower().endswith(SOURCE_SUFFIXES):
            continue
        name = end.removesuffix(suffix)
        if name in images:
            raise ValueError(
                f'{images[name]} and {folder / entry} have the same name. Remove one, or give '
                f'{option} with the end of those that count'
            )
        images[name] = folder / entry
    if not images:
        ends = f'ending in {suffix!r} ' if suffix else ''
        raise ValueError(
            f'{folder}: no image {ends}in it or its sub-directories ({", ".join(SOURCE_SUFFIXES)})'
        )
    return images
