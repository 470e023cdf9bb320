"""Which sub-folders of a set of pairs are splits, and which of their files are pairs.

A split is what ``PairsDataset`` finds by its name: ``ROOT/train``, or where that is missing the
folder of that name in ``cityscapes_data``, where Kaggle's archive has them. So both places can add
to one set. Every folder with pairs counts, whatever its name.
"""

import os.path as osp
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmengine import fileio

from pspnet_plugin.datasets.listing import IMAGE_SUFFIXES, NESTED_ROOTS
from pspnet_plugin.utils.natural_order import natural_key


@dataclass(frozen=True)
class Split:
    """A folder of pairs.

    Args:
        name: As ``data_prefix`` would name it; ``'.'`` for a root itself.
        folder: Where it is.
        pairs: Names of its pairs in natural order, sub-folders included.
        ignored: Number of other files by suffix.
    """

    name: str
    folder: Path
    pairs: tuple[str, ...]
    ignored: dict[str, int]

    def path(self, name: str) -> str:
        """The file of a pair."""
        return str(self.folder / name)


def roots_of(root: Path) -> list[Path]:
    """The folders whose sub-folders are splits: the root, then those of Kaggle's archive."""
    return [base for base in (root, *(root / nested for nested in NESTED_ROOTS)) if base.is_dir()]


def sub_splits(root: Path) -> list[Split]:
    """All sub-folders that hold pairs, in the order of their names.

    Raises:
        OSError: a folder cannot be read.
    """
    folders: dict[str, Path] = {}
    # By iterdir, because glob passes over a folder without rights as if it were empty.
    for folder in (entry for base in roots_of(root) for entry in base.iterdir()):
        if folder.is_dir() and not folder.name.startswith('.'):
            folders.setdefault(folder.name, folder)
    for nested in NESTED_ROOTS:  # as a split it would hold all others
        folders.pop(osp.basename(nested), None)
    found = [read_split(name, folders[name]) for name in sorted(folders)]
    return [split for split in found if split.pairs]


def read_split(name: str, folder: Path) -> Split:
    """The files of a split; none of them is opened.

    Raises:
        OSError: the folder cannot be read.
    """
    files = list(fileio.list_dir_or_file(str(folder), list_dir=False, recursive=True))
    pairs = sorted((n for n in files if n.lower().endswith(IMAGE_SUFFIXES)), key=natural_key)
    return Split(name, folder, tuple(pairs), _count_suffixes(set(files) - set(pairs)))


def pictures_in(folder: Path) -> list[Path]:
    """Pictures that lie right in a folder, in natural order.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(IMAGE_SUFFIXES) and path.name[0] != '.' and path.is_file()
    ]
    return sorted(found, key=lambda path: natural_key(path.name))


def _count_suffixes(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(osp.splitext(name)[1].lower() or osp.basename(name) for name in names)
    return dict(sorted(counts.items()))
