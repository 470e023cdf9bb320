"""Photos matched with their label maps, in any two directories or the layout of Cityscapes."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pspnet_plugin.datasets.pairs_dataset import CityscapesPairsDataset
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.conversion.label_format import LabelFormat
from pspnet_plugin.utils.images import PHOTO_SUFFIXES
from pspnet_plugin.utils.natural_order import natural_key

SPLITS = ('train', 'val')
# Names of splits, in any case and with a number or year behind them; and what might be another.
_SPLIT_NAMES = dict(
    train=r'train|training|trainset',
    val=r'val|valid|validation|valset|dev',
    test=r'test|testing|testset',
)
_LIKE_A_SPLIT = re.compile(
    r'(?<![a-z])(train(ing|set)?|val(id(ation)?)?|test(ing|set)?|splits?|folds?)(?![a-z])'
)
# Directories of photos and of label maps beside each other.
_PHOTO_DIRS = frozenset(
    ('image', 'images', 'img', 'imgs', 'img_dir', 'photo', 'photos', 'jpegimages')
)
_LABEL_DIRS = frozenset(
    ('mask', 'masks', 'label', 'labels', 'annotation', 'annotations', 'ann', 'ann_dir', 'gt',
     'groundtruth', 'segmentation', 'segmentationclass', 'segmentationclasspng', 'masks_machine'),
)  # fmt: skip

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
    skipped: Counter[str]  # number of other files by suffix
    keeps_splits: bool = True  # sub-directories train, val and test are splits
    test_dirs: tuple[Path, ...] = ()  # where the photos of test lie

    def splits(self) -> set[str]:
        """Return which of train, val and test there are."""
        if not self.keeps_splits:
            return set()
        tops = {name.split('/')[0] for name in (*self.files, *self.unmatched) if '/' in name}
        return tops & _SPLIT_NAMES.keys()


@dataclass(frozen=True)
class Ends:
    """Begin and end of files' names that are no part of the common name.

    The end may have ``.png``; files that begin or end otherwise do not count.
    """

    prefix: str = ''
    suffix: str = ''

    def strip(self, name: str) -> str | None:
        """Return the common name of a file; None if it does not count."""
        stem = name.rpartition('.')[0]
        for part in (stem, name):
            if part.startswith(self.prefix) and part[len(self.prefix) :].endswith(self.suffix):
                return part[len(self.prefix) :].removesuffix(self.suffix)
        return None


def match_folders(
    photos: Path,
    labels: Path,
    *,
    photo_ends: Ends = Ends(),  # noqa: B008
    label_ends: Ends = Ends(),  # noqa: B008
    splits: Mapping[str, str] | None = None,
) -> MatchedPhotos:
    """Match photos and label maps that have the same name below their directories.

    Args:
        photos: Directory of the photos, sub-directories included.
        labels: Directory of the label maps. If it is the same, those are label maps that have
            ``label_ends``, or lie in a directory such as ``masks``, and photos the others, or those
            in a directory such as ``images``; these directories are no part of the name.
        photo_ends: Ends of the photos' names.
        label_ends: Ends of the label maps' names.
        splits: Split (train, val, test) of each sub-directory that is one; by default those with
            their usual names.

    ``FileNotFoundError``: a directory is missing. ``ValueError``: none match, a name stands for two
    files, or a sub-directory might be a split.
    """
    skipped: Counter[str] = Counter()
    if photos.resolve() == labels.resolve():
        images = _images(photos, skipped)
        photo_side, label_side = _tell_apart(images, label_ends)
    else:
        photo_side, label_side = (
            {entry: PurePosixPath(entry) for entry in _images(folder, skipped)}
            for folder in (photos, labels)
        )
    if splits:
        tops = {path.parts[0] for path in photo_side.values() if len(path.parts) > 1}
        listed = f'its directories are {", ".join(sorted(tops)) or "none"}'
        if wrong := [*(splits.keys() - tops), *(tops - splits.keys())]:
            problem = 'is no directory of' if wrong[0] in splits else 'is left out, a directory of'
            raise ValueError(f'--splits: {wrong[0]} {problem} {photos}; {listed}')
    by_photo = _by_name(photos, photo_side, photo_ends, splits, option='--img-suffix')
    by_labels = _by_name(labels, label_side, label_ends, splits, option='--ann-suffix')
    names = sorted(by_photo, key=natural_key)
    files = {name: (by_photo[name], by_labels[name]) for name in names if name in by_labels}
    for photo, label_map in files.values():
        if photo == label_map:
            raise ValueError(
                f'{photo} would be its own label map. Give the directory of the label maps, or the '
                'ends of their names: --ann-suffix, --ann-prefix'
            )
    splits_of_files = {name.partition('/')[0] for name in files if '/' in name} & {*_SPLIT_NAMES}
    if splits != {} and splits_of_files and (outside := [n for n in files if '/' not in n]):
        raise ValueError(
            f'{len(outside)} photos, such as {files[outside[0]][0]}, lie in none of the '
            f'directories {", ".join(sorted(splits_of_files))}: nothing would use them. Move them '
            'into one, or give --splits none'
        )
    if not files:
        raise ValueError(
            f'no photo of {photos} has a label map in {labels}: e.g. {names[0]!r} here, '
            f'{min(by_labels, key=natural_key)!r} there. Their names must be equal except for the '
            'ends that --img-suffix, --ann-suffix, --img-prefix and --ann-prefix give'
        )
    unmatched = [name for name in names if name not in by_labels]
    in_test = sorted({by_photo[name].parent for name in names if name.startswith('test/')})
    return MatchedPhotos(
        files, unmatched, len(by_labels) - len(files), skipped, splits != {},
        tuple(folder for folder in in_test if not {*folder.parents} & {*in_test}),
    )  # fmt: skip


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
            photo_ends=Ends(suffix='_leftImg8bit.png'),
            label_ends=Ends(suffix=f'_gtFine_{kinds[0]}.png'), splits={},
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
    return MatchedPhotos(files, unmatched, unused, Counter()), kinds[0]


def cityscapes_format(kind: str) -> LabelFormat:
    """Format of one of ``LABEL_KINDS``, in the colours of ``CityscapesPairsDataset``."""
    plain = LabelFormat.from_metainfo(CityscapesPairsDataset.METAINFO)
    if kind != 'labelIds':
        return plain
    table = [IGNORE_INDEX] * 256
    for index, meaning in CITYSCAPES_IDS.items():
        table[index] = meaning if isinstance(meaning, int) else plain.colors.index(meaning)
    return LabelFormat(plain.colors, plain.num_classes, tuple(table))


def split_of(directory: str) -> str | None:
    """Return train, val or test for a directory with a usual name of one; else None."""
    return next(
        (split for split, names in _SPLIT_NAMES.items()
         if re.fullmatch(rf'({names})[\W_\d]*', directory.lower())), None,
    )  # fmt: skip


def _images(folder: Path, skipped: Counter[str]) -> list[str]:
    """List the images below a directory, relative to it, and count the other files."""
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such directory')
    entries = sorted(_files(folder))
    images = [entry for entry in entries if entry.lower().endswith(PHOTO_SUFFIXES)]
    others = Counter(PurePosixPath(e).suffix.lower() or 'no suffix' for e in {*entries} - {*images})
    skipped.update(others)
    if not images:
        found = ', '.join(f'{count} {suffix}' for suffix, count in others.most_common(5))
        raise ValueError(
            f'{folder}: no image in it or its sub-directories ({found or "it is empty"}); expected '
            f'{", ".join(PHOTO_SUFFIXES)}'
        )
    return images


def _files(folder: Path) -> Iterator[str]:
    """Yield the files below a directory, relative to it, also links whose file is missing."""

    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = Path(root).resolve()
        folders[:] = [  # without links to what they lie in
            name
            for name in folders
            if not _is_hidden(name) and not real.is_relative_to((Path(root) / name).resolve())
        ]
        for name in names:
            if not _is_hidden(name):
                yield (Path(root) / name).relative_to(folder).as_posix()


def _innermost(folders: Sequence[str]) -> tuple[int | None, bool | None]:
    """Return the place of the innermost directory of photos or of label maps, and if of these."""
    for at in reversed(range(len(folders))):
        if (name := folders[at].lower()) in _LABEL_DIRS | _PHOTO_DIRS:
            return at, name in _LABEL_DIRS
    return None, None


def _is_hidden(name: str) -> bool:
    """Return whether a file or directory is of a system: .ipynb_checkpoints, ._a.jpg, @eaDir."""
    return name.startswith('.') or name in ('__MACOSX', '@eaDir', '@Recycle')


def _tell_apart(
    images: list[str], label_ends: Ends
) -> tuple[dict[str, PurePosixPath], dict[str, PurePosixPath]]:
    """Tell photos from label maps in one directory; return their paths without ``images``, …."""
    sides: tuple[dict[str, PurePosixPath], dict[str, PurePosixPath]] = ({}, {})
    by_ends = label_ends != Ends()
    places = {image: _innermost(PurePosixPath(image).parts[:-1]) for image in images}
    kinds = {is_labels for _, is_labels in places.values()}
    # What has label maps of its own is a photo, however it ends.
    common = {
        (str(PurePosixPath(image).parent), label_ends.strip(PurePosixPath(image).name))
        for image in images
    }
    for image in images:
        *folders, name = PurePosixPath(image).parts
        at, is_labels = places[image]
        if True not in kinds:
            stem = str(PurePosixPath(image).parent), name.rpartition('.')[0]
            is_labels = by_ends and label_ends.strip(name) is not None and stem not in common
        elif is_labels is None and False in kinds:
            raise ValueError(
                f'{image} lies beside the directories of photos and of label maps. Move it, or '
                'give IMG_DIR and ANN_DIR apart'
            )
        kept = [folder for i, folder in enumerate(folders) if i != at]
        sides[bool(is_labels)][image] = PurePosixPath(*kept, name)
    if not sides[1] and not by_ends:  # each would be its own label map
        sides[1].update(sides[0])
    return sides


def _by_name(
    folder: Path,
    images: dict[str, PurePosixPath],
    ends: Ends,
    splits: Mapping[str, str] | None,
    *,
    option: str,
) -> dict[str, Path]:
    """Map common names to the images of a directory, whose paths may be shortened."""
    known = splits
    if known is None:
        folders = {part for path in images.values() for part in path.parts[:-1]}
        known = {folder: split for folder in folders if (split := split_of(folder))}
        tops = sorted({path.parts[0] for path in images.values() if len(path.parts) > 1})
        without = {p.parts[0] for p in images.values() if not {*p.parts[:-1]} & known.keys()}
        asked = [top for top in tops if top in without]
        asked = [t for t in asked if known or _LIKE_A_SPLIT.search(t.lower())]
        if asked:
            raise ValueError(
                f'{folder}: {", ".join(asked[:5])} might be splits, or parts of one. Say which of '
                'its directories train, are validated on or only tested, such as --splits '
                f'train={asked[0]} val=…; or --splits none'
            )
    named: dict[str, Path] = {}
    for entry, path in images.items():
        if (common := ends.strip(path.name)) is None:
            continue
        parts = path.with_name(common or path.name).parts if common else path.parent.parts
        at = next((i for i, part in enumerate(parts[:-1]) if part in known), None)
        if len({known[part] for part in parts[:-1] if part in known}) > 1:
            raise ValueError(
                f'{folder / entry} lies in directories of two splits. Give the inner ones, such as '
                f'{folder / parts[0]}, as IMG_DIR and ANN_DIR, or say by --splits which count'
            )
        if at is not None:  # the split comes first
            parts = (known[parts[at]], *parts[:at], *parts[at + 1 :])
        name = unicodedata.normalize('NFC', '/'.join(parts))
        if not name:
            raise ValueError(
                f'{folder / entry} has no name beside {ends.prefix!r} and {ends.suffix!r}, the '
                'ends that label maps and photos do not share'
            )
        if name in named:
            raise ValueError(
                f'{named[name]} and {folder / entry} have the same name. Rename or remove one, or '
                f'give {option} with the end of those that count, or --splits none'
            )
        named[name] = folder / entry
    if not named:
        ending = f'that begins with {ends.prefix!r} and ends in {ends.suffix!r}'
        raise ValueError(f'{folder}: no image {ending} in it or its sub-directories')
    return named
