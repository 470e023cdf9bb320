"""The files of a set of pairs: its folder, what lies in it, what a list names.

Errors are continuations of the dataset's name.
"""

import os
import os.path as osp
from collections import Counter, defaultdict
from collections.abc import Callable

from mmengine import fileio
from mmengine.fileio import list_from_file
from mmengine.logging import MMLogger

from pspnet_plugin.utils.natural_order import natural_key
from pspnet_plugin.utils.output_directory import IMAGE_SUFFIXES

# Where the archive of Kaggle's "Cityscapes Image Pairs" keeps train and val below its root.
NESTED_ROOTS = ('cityscapes_data', osp.join('cityscapes_data', 'cityscapes_data'))
WHERE_FROM = (
    'Pairs are pictures with the photo in one half and its colour-coded labels in the other, e.g. '
    'Kaggle\'s "Cityscapes Image Pairs", laid out as ROOT/train and ROOT/val. `make demo` '
    'generates a set and trains on it; tools/dataset_converters/make_pairs.py makes more.'
)


def find_split(root: str | None, prefix: str | None) -> str:
    """The folder of a split; one of another backend (``s3://``) as it is named.

    Args:
        root: ``data_root``.
        prefix: ``data_prefix['img_path']``, joined to the root already.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: neither is given.
    """
    folder, root = prefix or root or '', root or ''
    if not folder:
        raise ValueError('neither data_root nor data_prefix says where the pairs are')
    if '://' in folder:
        return folder
    if osp.isdir(folder):
        return osp.abspath(folder)
    split = osp.relpath(folder, root) if root else folder
    for nested in NESTED_ROOTS:
        candidate = osp.join(root, nested, split)
        if osp.isdir(candidate):
            return osp.abspath(candidate)
    if osp.isdir(root):
        missing = f'the data root {root!r} holds no folder {split!r}'
    else:
        missing = f'the data root {root or split!r} is missing'
    raise FileNotFoundError(f'{missing} (looked for {osp.abspath(folder)}). {WHERE_FROM}')


def find_pairs(folder: str, *, by_name: bool, backend_args: dict | None) -> list[str]:
    """The pairs below a folder.

    Args:
        folder: Its path or address.
        by_name: In the order of their names as strings; else in natural order.
        backend_args: Of the backend that lists it.

    Raises:
        ValueError: there is none.
    """
    names = sorted(
        fileio.list_dir_or_file(folder, list_dir=False, recursive=True, backend_args=backend_args),
        key=None if by_name else natural_key,
    )
    pairs = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    others = Counter(
        osp.splitext(n)[1] or n for n in names if not n.lower().endswith(IMAGE_SUFFIXES)
    )
    listed = ', '.join(f'{n} {suffix}' for suffix, n in others.most_common(5))
    if not pairs:
        raise ValueError(
            f'no pair in {folder} ({listed or "it is empty"}); expected files ending in '
            f'{", ".join(IMAGE_SUFFIXES)}. {WHERE_FROM}'
        )
    if others:
        MMLogger.get_current_instance().info(
            f'{folder}: {len(pairs)} pairs; {others.total()} other files ignored ({listed})'
        )
    return [osp.join(folder, name) for name in pairs]


def named_pairs(
    folder: str, ann_file: str, *, found: Callable[[], list[str]], backend_args: dict | None
) -> list[str]:
    """The pairs that a text file names, one a line, with or without suffix.

    Args:
        folder: Of the split, to which the names are relative.
        ann_file: The text file.
        found: The pairs below the folder; not asked of another backend, which may list nothing.
        backend_args: Of the backend of the text file.

    Raises:
        FileNotFoundError: the text file is missing, or a pair named in it.
        ValueError: it names none, or one that may be several files.
    """
    try:
        lines = list_from_file(ann_file, backend_args=backend_args)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'ann_file {ann_file} is missing; expected a text file with a pair of {folder} a line.'
        ) from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f'ann_file {ann_file} names no pair')
    if '://' in folder:
        return [f'{folder.rstrip("/")}/{name}' for name in names]
    by_name = defaultdict(set)
    for path in found():
        name = osp.relpath(path, folder).replace(os.sep, '/')
        by_name[name].add(path)
        by_name[osp.splitext(name)[0]].add(path)
    if absent := [name for name in names if name not in by_name]:
        raise FileNotFoundError(
            f'{len(absent)} of the {len(names)} pairs named in {ann_file} are not in {folder}, the '
            f'first is {absent[0]!r}.'
        )
    if unclear := [name for name in names if len(by_name[name]) > 1]:
        raise ValueError(
            f'{ann_file} names {unclear[0]!r}, which is several files of {folder}; write their '
            'suffixes.'
        )
    return [path for name in names for path in by_name[name]]
