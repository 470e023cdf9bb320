"""Which splits a folder of pairs has, and which files of theirs are pairs."""

import os.path as osp
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine import fileio

from pspnet_plugin.datasets.pairs import NESTED_ROOTS, SUFFIXES, WHERE_FROM, natural_key


@dataclass(frozen=True)
class Split:
    """A folder of pairs.

    Args:
        name: As ``data_prefix`` would name it; ``'.'`` for the root itself.
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


def find_splits(root: Path, *, wanted: Sequence[str] = ()) -> list[Split]:
    """The splits of a set of pairs.

    They are the sub-folders that hold pairs, or those of ``cityscapes_data``, where Kaggle's
    archive has them; or the root itself if pairs lie right in it.

    Args:
        root: Folder of the set.
        wanted: Names of splits; all of them if it is empty.

    Raises:
        FileNotFoundError: there is no such folder or split.
        ValueError: there are no pairs.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder. {WHERE_FROM}')
    splits = []
    for base in (root, *(root / nested for nested in NESTED_ROOTS)):
        if base.is_dir() and not splits:
            splits = _splits_of(base)
    if not splits:
        others = [str(path.relative_to(root)) for path in sorted(root.iterdir())[:5]]
        raise ValueError(
            f'{root}: no pair in it or its sub-folders ({", ".join(others) or "it is empty"}); '
            f'expected files ending in {", ".join(SUFFIXES)}. {WHERE_FROM}'
        )
    names = [split.name for split in splits]
    if absent := [name for name in wanted if name not in names]:
        raise FileNotFoundError(
            f'{root}: no pairs in {", ".join(absent)}; its splits are {", ".join(names)}'
        )
    return [split for split in splits if not wanted or split.name in wanted]


def _splits_of(base: Path) -> list[Split]:
    if any(path.suffix.lower() in SUFFIXES and path.is_file() for path in base.iterdir()):
        return [_read_split('.', base)]
    # As a folder of the set, that of Kaggle's archive would be one split with all others in it.
    outer = {osp.normpath(nested).split(osp.sep)[0] for nested in NESTED_ROOTS}
    folders = sorted(path for path in base.iterdir() if path.is_dir() and path.name not in outer)
    found = [_read_split(path.name, path) for path in folders if not path.name.startswith('.')]
    return [split for split in found if split.pairs]


def _read_split(name: str, folder: Path) -> Split:
    files = list(fileio.list_dir_or_file(str(folder), list_dir=False, recursive=True))
    pairs = sorted((n for n in files if n.lower().endswith(SUFFIXES)), key=natural_key)
    return Split(name, folder, tuple(pairs), _count_suffixes(set(files) - set(pairs)))


def _count_suffixes(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(osp.splitext(name)[1].lower() or osp.basename(name) for name in names)
    return dict(sorted(counts.items()))
