"""Datasets of side-by-side pairs: records of virtual files for any stock pipeline.

They differ from stock ``BaseSegDataset`` in where a record points: image and label map are two
virtual files of the same pair (see ``pair_files.py``), so ``LoadImageFromFile``,
``LoadAnnotations`` and everything after them stay stock.
"""

import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

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
    """Any folder of pairs; classes and colours come from ``metainfo``.

    Pairs of the folder are taken in natural order (``2.jpg`` before ``10.jpg``), sub-folders
    included. ``data_prefix=dict(img_path='train')`` names the split; an inherited ``seg_map_path``
    has no meaning here, because labels lie in the same files. ``ann_file`` may name a text file
    with one pair a line, relative to the split, with or without suffix; with it, where the split
    lies on another backend such as ``s3://``.

    A subclass that defines ``METAINFO`` says how its files are coded. As in stock, ``metainfo`` may
    then name a subset of the classes: the others become 255. A palette given with them replaces
    the colours of just those classes.

    Args:
        metainfo: ``classes`` (names), ``palette`` (RGB of each) and optionally ``void_palette``
            (RGB of known colours that are no class); or the name of a file with these, such as the
            ``metainfo.json`` of made pairs, or of a known set (``'camvid'``).
        photo_side: ``'left'`` or ``'right'``: the half that holds the photo.
        order: ``'natural'``, or ``'name'`` for plain string order (``10.jpg`` before ``2.jpg``),
            which stock tools assume that match predictions to records by listing a folder
            (``confusion_matrix.py``).
        decode: Arguments of ``LabelDecoder``: ``rule``, ``max_distance``, ``min_confidence`` and
            ``min_explained``.
        on_bad_pair: ``'error'``: a pair that cannot be used ends the run when it is met.
            ``'skip'``: all pairs are read at the start, and those that cannot be used are named
            and left out; where one is lost later, during training, another takes its place
            (``BadPairsHook`` reports both).
        folds: Of the ten folds of the split, those that are used; pair number n in the set's order,
            from 0, is in fold n % 10. So a tenth of ``train`` can be held out to choose settings
            on: ``folds=range(9)`` to train, ``folds=[9]`` to score. None: all pairs.
        **kwargs: Arguments of ``BaseSegDataset``, except those that name two folders' suffixes.

    Raises:
        ValueError: an argument is unusable, the split holds no pair, or its first pair is none.
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
        if photo_side not in SIDES:
            raise ValueError(f'{name}: photo_side={photo_side!r}, expected one of {SIDES}')
        if order not in ORDERS:
            raise ValueError(f'{name}: order={order!r}, expected one of {ORDERS}')
        if on_bad_pair not in POLICIES:
            raise ValueError(f'{name}: on_bad_pair={on_bad_pair!r}, expected one of {POLICIES}')
        if folds is not None and not (
            isinstance(folds, Sequence) and folds and set(folds) <= set(range(FOLDS))
        ):
            raise ValueError(
                f'{name}: folds={folds}: expected some of the numbers from 0 to {FOLDS - 1}'
            )
        unused = {'img_suffix', 'seg_map_suffix'} & kwargs.keys()
        if unused:
            raise ValueError(
                f'{name} takes no {", ".join(sorted(unused))}: a pair is one file, and '
                f'{", ".join(IMAGE_SUFFIXES)} are all read. Remove it from the config.'
            )
        if 'backend' in (kwargs.get('backend_args') or {}):
            raise ValueError(
                f'{name}: backend_args={kwargs["backend_args"]} names a backend, which would '
                'bypass the virtual files of pairs; name it by the prefix of data_prefix (s3://...).'
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
        """The decoder of the files' own classes, which ``metainfo`` may take a subset of.

        Args:
            metainfo: As the dataset takes it, but no name of a file.
            decode: Arguments of ``LabelDecoder``.

        Raises:
            ValueError: they are unusable.
        """
        if isinstance((metainfo or {}).get('classes'), str) and not osp.isfile(metainfo['classes']):
            raise ValueError(
                f'{cls.__name__}: classes={metainfo["classes"]!r} is a string, not a tuple of '
                f"names. A tuple of one needs its comma: classes=('{metainfo['classes']}',)."
            )
        meta = cls._load_metainfo(metainfo)
        classes, palette = (list(meta.get(key, ())) for key in ('classes', 'palette'))
        if not classes or not palette:
            raise ValueError(
                f'{cls.__name__} needs metainfo=dict(classes=(...), palette=[...]): the names '
                'of the classes and, in the same order, their RGB colours in the files; '
                f'got classes={classes}, palette={palette}.'
            )
        if repeated := [c for c, n in Counter(classes).items() if n > 1]:
            raise ValueError(f'{cls.__name__}: classes are named twice: {", ".join(repeated)}')
        own = cls.METAINFO
        if own.get('classes') and own.get('palette'):
            colors = cls._by_class(own['classes'], own['palette'])
            if unknown := [c for c in classes if c not in colors]:
                raise ValueError(
                    f'{cls.__name__} has no class {", ".join(map(repr, unknown))}; its classes are '
                    f'{", ".join(colors)}. Use PairsDataset for a palette of your own.'
                )
            if metainfo and 'palette' in metainfo:
                colors.update(cls._by_class(classes, palette))
        else:
            colors = cls._by_class(own.get('classes') or classes, palette)
        palette = list(colors.values())
        try:
            return LabelDecoder(palette, void_palette=meta.get('void_palette', ()), **decode)
        except (TypeError, ValueError) as error:
            raise ValueError(f'{cls.__name__}: {error}') from None

    @classmethod
    def _by_class(cls, classes: list[str], palette: list) -> dict:
        if len(classes) != len(palette):
            raise ValueError(
                f'{cls.__name__}: {len(classes)} classes, but {len(palette)} colours in the '
                'palette; each class needs one RGB triple, in the same order.'
            )
        return dict(zip(classes, palette, strict=True))

    def _update_palette(self) -> list:
        """The colours of the classes in use, also where they are the stock ones reordered."""
        own = self.METAINFO.get('classes') or self._metainfo['classes']
        colors = dict(zip(own, self.decoder.palette, strict=True))
        return [list(colors[c]) for c in self._metainfo['classes']]

    def load_data_list(self) -> list[dict]:
        """One record a pair, with ``img_path`` and ``seg_map_path`` as virtual files."""
        folder, paths = self._find_pairs()
        if self.folds is not None:
            taken = [path for n, path in enumerate(paths) if n % FOLDS in self.folds]
            if not taken:
                raise ValueError(
                    f'{type(self).__name__}: folds={self.folds} of the {len(paths)} pairs in '
                    f'{folder} hold none; a pair is in fold n % {FOLDS}, n its number from 0'
                )
            paths = taken
        if self.bad_pairs:
            _ = self.decoder.table  # else each of the threads would build it
            paths = self.bad_pairs.leave_out(paths, read=self._read)
        else:
            self._read(paths[0])  # says at once what is wrong with a set
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
        try:
            folder = find_split(self.data_root, self.data_prefix.get('img_path'))
            found = partial(
                find_pairs, folder, by_name=self.order == 'name', backend_args=self.backend_args
            )
            if not self.ann_file:
                return folder, found()
            return folder, named_pairs(
                folder, self.ann_file, found=found, backend_args=self.backend_args
            )
        except (FileNotFoundError, ValueError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f'{type(self).__name__}: {error}') from None

    def prepare_data(self, idx: int) -> dict | None:
        """A sample; None for a pair lost in training, by which the framework takes another."""
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
    """Pairs in the colours of Cityscapes: the 19 train classes; its void colours become 255."""

    METAINFO = CITYSCAPES
