"""Datasets of side-by-side pairs for any stock pipeline.

They differ from stock ``BaseSegDataset`` in where a record points: image and label map are two
virtual files of one pair (see ``pair_backends.py``), so that all transforms stay stock.
"""

import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from pspnet_plugin.datasets.bad_pairs import POLICIES, BadPair, BadPairs
from pspnet_plugin.datasets.lazy_records import LazyRecords
from pspnet_plugin.datasets.listing import find_pairs, find_split, named_pairs
from pspnet_plugin.datasets.pair_backends import SIDES, label_uri, photo_uri
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import (
    CITYSCAPES,
    IGNORE_INDEX,
    check_unique,
    colors_by_class,
    read_metainfo,
)
from pspnet_plugin.utils.images import PAIR_SUFFIXES

ORDERS = ('natural', 'name')
FOLDS = 10
_PRESENT = 1e-3  # share of the pixels; fewer are often noise


@contextmanager
def _errors_named(dataset: type) -> Iterator[None]:
    """Put the name of a dataset before messages about its arguments and folders."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{dataset.__name__}: {error}') from None
    except (TypeError, ValueError) as error:
        raise ValueError(f'{dataset.__name__}: {error}') from None


@DATASETS.register_module()
class PairsDataset(BaseSegDataset):
    """Dataset of any folder of pairs; classes and colours come from ``metainfo``.

    ``data_prefix=dict(img_path='train')`` names the split, whose sub-folders count, too; an
    inherited ``seg_map_path`` has no meaning. ``ann_file`` may name a text file with one pair a
    line, relative to the split, with or without suffix; only with it may the split lie on a backend
    that cannot list.

    A subclass defines ``METAINFO`` for the colours in its files. As in stock, ``metainfo`` may then
    select some of the classes, and the others become 255. A palette given with them replaces the
    colours of just those classes.

    Args:
        metainfo: ``classes`` (names), ``palette`` (RGB of each) and optionally ``void_palette``
            (RGB of known colours that are no class); or the name of a file with these, such as the
            ``metainfo.json`` of made pairs, or of a known set (``'camvid'``).
        photo_side: Half that holds the photo, ``'left'`` or ``'right'``.
        order: ``'natural'`` (``2.jpg`` before ``10.jpg``), or ``'name'`` for string order, which
            stock tools assume that match predictions by listing a folder (``confusion_matrix.py``).
        decode: Arguments of ``LabelDecoder``, except the palettes.
        on_bad_pair: If ``'error'``, a pair that cannot be used ends the run when it is loaded.
            If ``'skip'``, all pairs are read at the start, and bad ones are logged and skipped; one
            lost later, in training, is replaced by another (``BadPairsHook`` reports both).
        folds: Which of the ten folds of the split to use; None for all. Pair n of the order, from
            0, is in fold n % 10: ``folds=range(9)`` to train and ``folds=[9]`` to evaluate hold out
            a tenth.
        **kwargs: Arguments of ``BaseSegDataset``, except the suffixes of its two folders;
            ``serialize_data`` has no meaning, as records are made when they are asked for.

    Raises:
        ValueError: an argument is unusable, the split holds no pair, or its first pair is bad.
        FileNotFoundError: the folder or the ``ann_file`` is missing, or a pair named in it.
    """

    def __init__(
        self,
        *,
        metainfo: dict | str | None = None,
        photo_side: str = 'left',
        order: str = 'natural',
        decode: dict | None = None,
        on_bad_pair: str = 'error',
        folds: Sequence[int] | None = None,
        **kwargs,
    ) -> None:
        with _errors_named(type(self)):
            for key, choice, choices in (
                ('photo_side', photo_side, SIDES),
                ('order', order, ORDERS),
                ('on_bad_pair', on_bad_pair, POLICIES),
            ):
                if choice not in choices:
                    raise ValueError(f'{key}={choice!r}, expected one of {choices}')
            if folds is not None and not (
                isinstance(folds, Sequence) and folds and set(folds) <= set(range(FOLDS))
            ):
                raise ValueError(f'folds={folds}: expected numbers from 0 to {FOLDS - 1}')
            if unused := {'img_suffix', 'seg_map_suffix'} & kwargs.keys():
                raise ValueError(
                    f'{", ".join(sorted(unused))} has no meaning: a pair is one file, and '
                    f'{", ".join(PAIR_SUFFIXES)} are all read. Remove it from the config.'
                )
            if 'backend' in (kwargs.get('backend_args') or {}):
                raise ValueError(
                    f'backend_args={kwargs["backend_args"]} names a backend, which would bypass '
                    'the virtual files of pairs. Name it by the prefix of data_prefix (s3://...).'
                )
            if (prefix := kwargs.get('data_prefix', {})).keys() - {'img_path', 'seg_map_path'}:
                raise ValueError(f'data_prefix={prefix}: its key for the split is img_path')
            if isinstance(metainfo, str):
                metainfo = read_metainfo(metainfo, option='metainfo=')
            for key, value in dict(metainfo=metainfo, decode=decode).items():
                if value is not None and not isinstance(value, Mapping):
                    raise ValueError(f'{key}={value!r}: expected a dict')
        self.photo_side = photo_side
        self.order = order
        self.folds = folds
        self.bad_pairs = BadPairs() if on_bad_pair == 'skip' else None
        self.decoder = self.make_decoder(metainfo, decode or {})
        super().__init__(metainfo=metainfo, **(kwargs | dict(serialize_data=False)))

    @classmethod
    def make_decoder(cls, metainfo: dict | None, decode: dict) -> LabelDecoder:
        """Build the decoder of all classes in the files, of which ``metainfo`` may select some.

        Arguments as for the dataset, but no file name; ``ValueError`` if they are unusable.
        """
        given, stored = metainfo or {}, cls.METAINFO
        with _errors_named(cls):
            if isinstance(names := given.get('classes'), str) and not osp.isfile(names):
                raise ValueError(
                    f'classes={names!r} is a string, not a tuple of names. A tuple of one needs '
                    f"its comma: classes=('{names}',)."
                )
            meta = cls._load_metainfo(metainfo)
            classes, palette = (list(meta.get(key, ())) for key in ('classes', 'palette'))
            if not classes or not palette:
                raise ValueError(
                    'metainfo=dict(classes=(...), palette=[...]) must name the classes and, in the '
                    'same order, their RGB colours in the files; got '
                    f'classes={classes}, palette={palette}'
                )
            check_unique(classes)
            if stored.get('classes') and stored.get('palette'):
                colors = colors_by_class(stored['classes'], stored['palette'])
                if unknown := [name for name in classes if name not in colors]:
                    raise ValueError(
                        f'it has no class {", ".join(map(repr, unknown))}; its classes are '
                        f'{", ".join(colors)}. Use PairsDataset for a palette of your own.'
                    )
                if 'palette' not in given:
                    palette = [colors[name] for name in classes]
                colors |= colors_by_class(classes, palette)
            else:
                colors = colors_by_class(stored.get('classes') or classes, palette)
            void_palette = meta.get('void_palette', ())
            return LabelDecoder(list(colors.values()), void_palette=void_palette, **decode)

    def _update_palette(self) -> list:
        """Return the colours of the classes in use, also if they are stock classes reordered."""
        classes = self.METAINFO.get('classes') or self._metainfo['classes']
        colors = dict(zip(classes, self.decoder.palette, strict=True))
        return [list(colors[name]) for name in self._metainfo['classes']]

    def load_data_list(self) -> LazyRecords:
        """Return one record a pair, with ``img_path`` and ``seg_map_path`` as virtual files."""
        with _errors_named(type(self)):
            folder = find_split(self.data_root, self.data_prefix.get('img_path'))
            names = self._find_pairs(folder)
        folder = f'{folder.rstrip("/")}/' if '://' in folder else osp.join(folder, '')
        if self.bad_pairs:
            _ = self.decoder.table  # else each of the threads would build it
            paths = self.bad_pairs.filter([folder + name for name in names], read=self._read)
            names = [path.removeprefix(folder) for path in paths]
        else:
            self._read(folder + names[0])  # a wrong palette or side fails at once
        make = partial(
            _record, folder=folder, photo_side=self.photo_side, decoder=self.decoder,
            label_map=self.label_map,  # by which stock loading ignores classes not selected
            reduce_zero_label=self.reduce_zero_label,
        )  # fmt: skip
        return LazyRecords(names, make)

    def _find_pairs(self, folder: str) -> list[str]:
        if self.ann_file:
            names = named_pairs(folder, self.ann_file, self.backend_args)
        else:
            names = find_pairs(folder, self.backend_args, by_name=self.order == 'name')
        if self.folds is None:
            return names
        chosen = [name for n, name in enumerate(names) if n % FOLDS in self.folds]
        if not chosen:
            raise ValueError(
                f'folds={self.folds} of the {len(names)} pairs in {folder} hold none; a pair '
                f'is in fold n % {FOLDS}, n its number from 0'
            )
        return chosen

    def prepare_data(self, idx: int) -> dict | None:
        """Return a sample; None for a pair lost in training, which the framework replaces."""
        try:
            return super().prepare_data(idx)
        except (BadPair, OSError):
            if not self.bad_pairs or self.test_mode:  # skipping it would change the scores
                raise
            self.bad_pairs.lost[idx] = 1
            return None

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes with a thousandth of a pair's pixels and more.

        Stock ``ClassBalancedDataset`` asks for them, and repeats pairs with rare classes. Labels
        that are decoded for it stay decoded for the training.
        """
        load = LoadAnnotations(backend_args=self.backend_args)
        labels = load(self.get_data_info(idx))['gt_seg_map']
        pixels = np.bincount(labels.reshape(-1), minlength=IGNORE_INDEX)[:IGNORE_INDEX]
        return np.flatnonzero(pixels >= max(_PRESENT * labels.size, 1)).tolist()

    def _read(self, path: str) -> None:
        uri = label_uri(path, photo_side=self.photo_side, decoder=self.decoder)
        fileio.get(uri, backend_args=self.backend_args)


def _record(
    name: str, *, folder: str, photo_side: str, decoder: LabelDecoder, **fields: object
) -> dict:
    path = folder + name
    return dict(
        img_path=photo_uri(path, photo_side=photo_side),
        seg_map_path=label_uri(path, photo_side=photo_side, decoder=decoder),
        seg_fields=[],
        **fields,
    )


@DATASETS.register_module()
class CityscapesPairsDataset(PairsDataset):
    """Dataset of pairs in the colours of Cityscapes: 19 train classes; void colours become 255."""

    METAINFO = CITYSCAPES
