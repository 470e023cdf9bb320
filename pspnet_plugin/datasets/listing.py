"""List the splits of a set of pairs, the pairs of a split, and the pairs that a text file names.

A split is a folder of pairs: ``ROOT/train`` or, if that is missing, the folder of that name where
Kaggle's archive has it. Error messages are continuations of the dataset's name.
"""

import os
import os.path as osp
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from mmengine import fileio
from mmengine.logging import MMLogger

from pspnet_plugin.utils.natural_order import natural_key
from pspnet_plugin.utils.output_directory import IMAGE_SUFFIXES

# Where the archive of Kaggle's "Cityscapes Image Pairs" keeps train and val below its root.
NESTED_ROOTS = ('cityscapes_data', osp.join('cityscapes_data', 'cityscapes_data'))
WHERE_FROM = (
    'A pair is an image with the photo in one half and its colour-coded labels in the other, e.g. '
    'of Kaggle\'s "Cityscapes Image Pairs", laid out as ROOT/train and ROOT/val. `make demo` '
    'generates a set and trains on it; tools/dataset_converters/make_pairs.py makes more.'
)


@dataclass(frozen=True)
class Split:
    """Folder of pairs.

    Args:
        name: Name for ``data_prefix``; ``'.'`` for a root itself.
        folder: Path of the folder.
        pairs: Names of the pairs in natural order, sub-folders included.
        ignored: Number of other files by suffix.
    """

    name: str
    folder: Path
    pairs: tuple[str, ...]
    ignored: dict[str, int]

    def path(self, name: str) -> str:
        """Return the file of a pair."""
        return str(self.folder / name)


def find_split(root: str | None, prefix: str | None) -> str:
    """Return the folder of a split; one on another backend (``s3://``) as it is named.

    Args:
        root: ``data_root`` of a dataset.
        prefix: ``data_prefix['img_path']``, already joined to the root.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: neither is given.
    """
    folder, root = prefix or root or '', root or ''
    if not folder:
        raise ValueError('neither data_root nor data_prefix says where the pairs are')
    if '://' in folder:
        return folder
    split = osp.relpath(folder, root) if root else folder
    for candidate in (folder, *(osp.join(root, nested, split) for nested in NESTED_ROOTS)):
        if osp.isdir(candidate):
            return osp.abspath(candidate)
    if osp.isdir(root):
        missing = f'the data root {root!r} holds no folder {split!r}'
    else:
        missing = f'the data root {root or split!r} is missing'
    raise FileNotFoundError(f'{missing} (looked for {osp.abspath(folder)}). {WHERE_FROM}')


def find_pairs(folder: str, *, by_name: bool, backend_args: dict | None) -> list[str]:
    """List the pairs below a folder, in natural order or ``by_name``, as strings are sorted.

    Raises:
        ValueError: there is none.
    """
    pairs, ignored = _list_files(folder, backend_args)
    others = ', '.join(f'{count} {suffix}' for suffix, count in ignored.most_common(5))
    if not pairs:
        raise ValueError(
            f'no pair in {folder} ({others or "it is empty"}); expected files ending in '
            f'{", ".join(IMAGE_SUFFIXES)}. {WHERE_FROM}'
        )
    if ignored:
        MMLogger.get_current_instance().info(
            f'{folder}: {len(pairs)} pairs; {ignored.total()} other files ignored ({others})'
        )
    return [osp.join(folder, name) for name in (sorted(pairs) if by_name else pairs)]


def named_pairs(folder: str, ann_file: str, *, backend_args: dict | None) -> list[str]:
    """List the pairs that a text file names, one a line, with or without suffix.

    The names are relative to ``folder``. A folder on another backend is not listed to check them,
    because some backends cannot list.

    Raises:
        FileNotFoundError: the text file is missing, or a pair named in it.
        ValueError: it names none, or one that may be several files.
    """
    try:
        lines = fileio.list_from_file(ann_file, backend_args=backend_args)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'ann_file {ann_file} is missing; expected a text file with a pair of {folder} a line.'
        ) from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f'ann_file {ann_file} names no pair')
    if '://' in folder:
        return [f'{folder.rstrip("/")}/{name}' for name in names]
    paths = defaultdict(set)
    for path in find_pairs(folder, by_name=False, backend_args=backend_args):
        name = osp.relpath(path, folder).replace(os.sep, '/')
        paths[name].add(path)
        paths[osp.splitext(name)[0]].add(path)
    if absent := [name for name in names if name not in paths]:
        raise FileNotFoundError(
            f'{len(absent)} of the {len(names)} pairs named in {ann_file} are not in {folder}, the '
            f'first is {absent[0]!r}.'
        )
    if ambiguous := [name for name in names if len(paths[name]) > 1]:
        raise ValueError(
            f'{ann_file} names {ambiguous[0]!r}, but {folder} holds several such files; add the '
            'suffix.'
        )
    return [path for name in names for path in paths[name]]


def roots_of(root: Path) -> list[Path]:
    """Return the folders whose sub-folders are splits: the root, then those of Kaggle's archive."""
    return [base for base in (root, *(root / nested for nested in NESTED_ROOTS)) if base.is_dir()]


def sub_splits(root: Path) -> list[Split]:
    """Return all sub-folders that hold pairs, whatever their names, sorted by name."""
    folders: dict[str, Path] = {}
    # By iterdir, because glob passes over a folder without rights as if it were empty.
    for folder in (entry for base in roots_of(root) for entry in base.iterdir()):
        if folder.is_dir() and not folder.name.startswith('.'):
            folders.setdefault(folder.name, folder)
    for nested in NESTED_ROOTS:  # as a split it would hold all others
        folders.pop(osp.basename(nested), None)
    splits = [read_split(name, folders[name]) for name in sorted(folders)]
    return [split for split in splits if split.pairs]


def read_split(name: str, folder: Path) -> Split:
    """List the files of a split without opening them."""
    pairs, ignored = _list_files(str(folder), None)
    return Split(name, folder, tuple(pairs), dict(sorted(ignored.items())))


def images_in(folder: Path) -> list[Path]:
    """Return the images right in a folder, in natural order."""
    paths = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    images = (path for path in paths if path.name.lower().endswith(IMAGE_SUFFIXES))
    return [path for path in images if path.name[0] != '.' and path.is_file()]


def _list_files(folder: str, backend_args: dict | None) -> tuple[list[str], Counter[str]]:
    """Return the pairs below a folder in natural order, and the number of other files by suffix."""
    files = fileio.list_dir_or_file(
        folder, list_dir=False, recursive=True, backend_args=backend_args
    )
    names = sorted(files, key=natural_key)
    pairs = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    others = (name for name in names if not name.lower().endswith(IMAGE_SUFFIXES))
    return pairs, Counter(osp.splitext(name)[1].lower() or osp.basename(name) for name in others)
