"""Which splits of a set are inspected, and which pictures of it belong to none."""

from collections.abc import Sequence
from pathlib import Path

from pspnet_plugin.datasets.listing import (
    IMAGE_SUFFIXES,
    WHERE_FROM,
    Split,
    images_in,
    read_split,
    roots_of,
    sub_splits,
)


def find_splits(root: Path, *, wanted: Sequence[str] = ()) -> tuple[list[Split], list[str]]:
    """The splits of a set of pairs, and the pictures beside them.

    Only where no sub-folder holds pairs is the root itself a split, ``'.'``: else one picture in
    it would make train and val parts of one split.

    Args:
        root: Folder of the set.
        wanted: Names of splits; all of them if it is empty.

    Returns:
        The splits; and names of pictures, relative to the root, that belong to no split, as they
        lie beside the folders of the splits.

    Raises:
        FileNotFoundError: there is no such folder or split.
        ValueError: there are no pairs.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder. {WHERE_FROM}')
    splits = sub_splits(root)
    beside = [path for base in roots_of(root) for path in images_in(base)]
    if beside and not splits:
        splits = [read_split('.', beside[0].parent)]
        beside = [path for path in beside if not path.is_relative_to(splits[0].folder)]
    if not splits:
        others = [str(path.relative_to(root)) for path in sorted(root.iterdir())[:5]]
        raise ValueError(
            f'{root}: no pair in it or its sub-folders ({", ".join(others) or "it is empty"}); '
            f'expected files ending in {", ".join(IMAGE_SUFFIXES)}. {WHERE_FROM}'
        )
    names = [split.name for split in splits]
    if absent := [name for name in wanted if name not in names]:
        raise FileNotFoundError(
            f'{root}: no pairs in {", ".join(absent)}; its splits are {", ".join(names)}'
        )
    strays = [str(path.relative_to(root)) for path in beside]
    return [split for split in splits if not wanted or split.name in wanted], strays
