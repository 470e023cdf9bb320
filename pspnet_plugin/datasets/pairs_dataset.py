"""Datasets of side-by-side pairs: records of virtual files for any stock pipeline.

They differ from stock ``BaseSegDataset`` in where a record points: image and label map are two
virtual files of one pair (see ``pair_backends.py``), so ``LoadImageFromFile``, ``LoadAnnotations``
and everything after them stay stock.
"""

import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence

from mmengine import fileio
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from pspnet_plugin.datasets.bad_pairs import POLICIES, BadPair, BadPairs
from pspnet_plugin.datasets.listing import IMAGE_SUFFIXES, find_pairs, find_split, named_pairs
from pspnet_plugin.datasets.pair_backends import SIDES, label_uri, photo_uri
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import CITYSCAPES, read_metainfo

ORDERS = ('natural', 'name')
FOLDS = 10


@DATASETS.register_module()
class PairsDataset(BaseSegDataset):
    """Dataset of any folder of pairs; classes and colours come from ``metainfo``.

    ``data_prefix=dict(img_path='train')`` names the split; an inherited ``seg_map_path`` has no
    meaning, because labels lie in the same files. The pairs of the folder and its sub-folders are
    taken in natural order (``2.jpg`` before ``10.jpg``). ``ann_file`` may name a text file with one
    pair a line, relative to the split, with or without suffix. Only with it may the split lie on a
    backend that cannot list.

    A subclass defines ``METAINFO`` for the colours in its files. As in stock, ``metainfo`` may then
    select some of the classes: the others become 255. A palette given with them replaces the
    colours of just those classes.

    Args:
        metainfo: ``classes`` (names), ``palette`` (RGB of each) and optionally ``void_palette``
            (RGB of known colours that are no class); or the name of a file with these, such as the
            ``metainfo.json`` of made pairs, or of a known set (``'camvid'``).
        photo_side: Half that holds the photo, ``'left'`` or ``'right'``.
        order: ``'natural'``, or ``'name'`` for plain string order (``10.jpg`` before ``2.jpg``),
            which stock tools assume that match predictions to records by listing a folder
            (``confusion_matrix.py``).
        decode: Arguments of ``LabelDecoder``: ``rule``, ``max_distance``, ``min_confidence`` and
            ``min_explained``.
        on_bad_pair: If ``'error'``, a pair that cannot be used ends the run when it is loaded.
            If ``'skip'``, all pairs are read at the start, and bad ones are logged and skipped; one
            that is lost later, during training, is replaced by another (``BadPairsHook`` reports
            both).
        folds: Which of the ten folds of the split to use; None for all. Pair number n of the order,
            from 0, is in fold n % 10. To hold out a tenth of ``train``, use ``folds=range(9)`` to
            train and ``folds=[9]`` to evaluate.
        **kwargs: Arguments of ``BaseSegDataset``, except the suffixes of its two folders.

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
        name = type(self).__name__
        for key, choice, choices in (
            ('photo_side', photo_side, SIDES),
            ('order', order, ORDERS),
            ('on_bad_pair', on_bad_pair, POLICIES),
        ):
            if choice not in choices:
                raise ValueError(f'{name}: {key}={choice!r}, expected one of {choices}')
        if folds is not None and not (
            isinstance(folds, Sequence) and folds and set(folds) <= set(range(FOLDS))
        ):
            raise ValueError(f'{name}: folds={folds}: expected numbers from 0 to {FOLDS - 1}')
        if unused := {'img_suffix', 'seg_map_suffix'} & kwargs.keys():
            raise ValueError(
                f'{name} takes no {", ".join(sorted(unused))}: a pair is one file, and '
                f'{", ".join(IMAGE_SUFFIXES)} are all read. Remove it from the config.'
            )
        if 'backend' in (kwargs.get('backend_args') or {}):
            raise ValueError(
                f'{name}: backend_args={kwargs["backend_args"]} names a backend, which would '
                'bypass the virtual files of pairs. Name it by the prefix of data_prefix (s3://...).'
            )
        if not {'img_path', 'seg_map_path'} >= kwargs.get('data_prefix', {}).keys():
            raise ValueError(
                f'{name}: data_prefix={kwargs["data_prefix"]}: its key for the split is img_path'
            )
        if isinstance(metainfo, str):
            metainfo = read_metainfo(metainfo, option=f'{name}: metainfo=')
        for key, value in dict(metainfo=metainfo, decode=decode).items():
            if value is not None and not isinstance(value, Mapping):
                raise ValueError(f'{name}: {key}={value!r}: expected a dict')
        self.photo_side = photo_side
        self.order = order
        self.folds = folds
        self.bad_pairs = BadPairs() if on_bad_pair == 'skip' else None
        self.decoder = self.make_decoder(metainfo, decode or {})
        super().__init__(metainfo=metainfo, **kwargs)

    @classmethod
    def make_decoder(cls, metainfo: dict | None, decode: dict) -> LabelDecoder:
        """Build the decoder of all classes in the files, of which ``metainfo`` may select some.

        Args:
            metainfo: As for the dataset, but not the name of a file.
            decode: Arguments of ``LabelDecoder``.

        Raises:
            ValueError: they are unusable.
        """
        name, given, stored = cls.__name__, metainfo or {}, cls.METAINFO
        if isinstance(given.get('classes'), str) and not osp.isfile(given['classes']):
            raise ValueError(
                f'{name}: classes={given["classes"]!r} is a string, not a tuple of names. A tuple '
                f"of one needs its comma: classes=('{given['classes']}',)."
            )
        meta = cls._load_metainfo(metainfo)
        classes, palette = (list(meta.get(key, ())) for key in ('classes', 'palette'))
        if not classes or not palette:
            raise ValueError(
                f'{name} needs metainfo=dict(classes=(...), palette=[...]): the names of the '
                'classes and, in the same order, their RGB colours in the files; '
                f'got classes={classes}, palette={palette}.'
            )
        if repeated := [c for c, n in Counter(classes).items() if n > 1]:
            raise ValueError(f'{name}: classes are named twice: {", ".join(repeated)}')
        if stored.get('classes') and stored.get('palette'):
            colors = cls._by_class(stored['classes'], stored['palette'])
            if unknown := [c for c in classes if c not in colors]:
                raise ValueError(
                    f'{name} has no class {", ".join(map(repr, unknown))}; its classes are '
                    f'{", ".join(colors)}. Use PairsDataset for a palette of your own.'
                )
            if 'palette' in given:
                colors.update(cls._by_class(classes, palette))
        else:
            colors = cls._by_class(stored.get('classes') or classes, palette)
        void_palette = meta.get('void_palette', ())
        try:
            return LabelDecoder(list(colors.values()), void_palette=void_palette, **decode)
        except (TypeError, ValueError) as error:
            raise ValueError(f'{name}: {error}') from None

    @classmethod
    def _by_class(cls, classes: list[str], palette: list) -> dict[str, list]:
        if len(classes) != len(palette):
            raise ValueError(
                f'{cls.__name__}: {len(classes)} classes, but {len(palette)} colours in the '
                'palette; each class needs one RGB triple, in the same order.'
            )
        return dict(zip(classes, palette, strict=True))

    def _update_palette(self) -> list:
        """Return the colours of the classes in use, also if they are stock classes reordered."""
        classes = self.METAINFO.get('classes') or self._metainfo['classes']
        colors = dict(zip(classes, self.decoder.palette, strict=True))
        return [list(colors[name]) for name in self._metainfo['classes']]

    def load_data_list(self) -> list[dict]:
        """Return one record a pair, with ``img_path`` and ``seg_map_path`` as virtual files."""
        folder, paths = self._find_pairs()
        if self.folds is not None:
            count = len(paths)
            paths = [path for n, path in enumerate(paths) if n % FOLDS in self.folds]
            if not paths:
                raise ValueError(
                    f'{type(self).__name__}: folds={self.folds} of the {count} pairs in {folder} '
                    f'hold none; a pair is in fold n % {FOLDS}, n its number from 0'
                )
        if self.bad_pairs:
            _ = self.decoder.table  # else each of the threads would build it
            paths = self.bad_pairs.filter(paths, read=self._read)
        else:
            self._read(paths[0])  # a wrong palette or side fails at once
        return [
            dict(
                img_path=photo_uri(path, photo_side=self.photo_side),
                seg_map_path=label_uri(path, photo_side=self.photo_side, decoder=self.decoder),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for path in paths
        ]

    def _find_pairs(self) -> tuple[str, list[str]]:
        name, backend_args = type(self).__name__, self.backend_args
        try:
            folder = find_split(self.data_root, self.data_prefix.get('img_path'))
            if self.ann_file:
                return folder, named_pairs(folder, self.ann_file, backend_args=backend_args)
            by_name = self.order == 'name'
            return folder, find_pairs(folder, by_name=by_name, backend_args=backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'{name}: {error}') from None
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None

    def prepare_data(self, idx: int) -> dict | None:
        """Return a sample; None for a pair lost in training, so that the framework takes another.

        A pair lost in testing is an error, because skipping it would change the scores.
        """
        try:
            return super().prepare_data(idx)
        except (BadPair, OSError):
            if not self.bad_pairs or self.test_mode:
                raise
            self.bad_pairs.lost[idx] = 1
            return None

    def _read(self, path: str) -> None:
        uri = label_uri(path, photo_side=self.photo_side, decoder=self.decoder)
        fileio.get(uri, backend_args=self.backend_args)


@DATASETS.register_module()
class CityscapesPairsDataset(PairsDataset):
    """Dataset of pairs in the colours of Cityscapes: 19 train classes; void colours become 255."""

    METAINFO = CITYSCAPES
