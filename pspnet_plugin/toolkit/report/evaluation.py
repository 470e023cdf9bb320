"""A network on the pictures of a validation set: what is taken for what, and in which pictures.

K is the number of classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmseg.registry import DATASETS
from tqdm import tqdm

from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.apis.stream import Network, label_stream
from pspnet_plugin.datasets.pair_backends import with_decoding
from pspnet_plugin.evaluation.areas import areas_of, mean, scores
from pspnet_plugin.evaluation.iou_metric import main_rule
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.report.bootstrap import Ranges, ranges_of


class LabelledSet:
    """Photos and truth of a config's validation set, read as its own metric reads them.

    Args:
        config: Of a run.

    Attributes:
        classes: Their names.
        palette: (K, 3) uint8, RGB.
        decode: The rule by which labels of pairs are read; None: as the dataset does.
        steps: What a picture goes through before the network sees it, beyond reading.

    Raises:
        ValueError: the config has no validation set, or its pipeline reads no labels.
    """

    def __init__(self, config: Config) -> None:
        if not config.get('val_dataloader'):
            raise ValueError(f'{config.filename} has no val_dataloader; nothing can be scored')
        self.dataset: BaseDataset = DATASETS.build(config.val_dataloader.dataset)
        meta = self.dataset.metainfo
        self.classes: list[str] = list(meta.get('classes') or ())
        self.palette = np.array(meta.get('palette') or (), np.uint8).reshape(-1, 3)
        if not self.classes or len(self.palette) != len(self.classes):
            raise ValueError(
                f'{config.filename}: its val_dataloader does not say what the classes and their '
                'colours are; give both in metainfo'
            )
        self.decode = main_rule(config.get('val_evaluator'))
        steps = config.val_dataloader.dataset.get('pipeline') or []
        self.steps = [s['type'] for s in steps if not s['type'].startswith(('Load', 'Pack'))]
        loading = [dict(s) for s in steps if s['type'] in ('LoadImageFromFile', 'LoadAnnotations')]
        if len(loading) != 2:
            raise ValueError(
                f'{config.filename}: expected LoadImageFromFile and LoadAnnotations in the '
                'pipeline of val_dataloader'
            )
        self._load = Compose(loading)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> InputImage:
        """One picture, named by its file."""
        record = self.dataset.get_data_info(index)
        if self.decode:
            record['seg_map_path'] = with_decoding(record['seg_map_path'], self.decode)
        record = self._load(record)
        name = record['img_path'].rpartition('/')[2]
        return InputImage(name, record['img'], record['gt_seg_map'].astype(np.uint8))

    def __iter__(self) -> Iterator[InputImage]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Examined:
    """Counts of pixels over a set of M pictures.

    Attributes:
        names: Of the pictures.
        confusion: (K, K) int64: of all pictures the pixels by truth (rows) and prediction.
        areas: (M, 4, K) int64: of each picture, see ``evaluation/areas.py``.
        pixels: Of all pictures, ignored ones included.
    """

    names: list[str]
    confusion: np.ndarray
    areas: np.ndarray
    pixels: int

    @property
    def coverage(self) -> float:
        """Percentage of pixels that are labelled with a class."""
        return 100 * float(self.confusion.sum()) / self.pixels

    @property
    def iou(self) -> np.ndarray:
        """(K,) percent; NaN: a class that is neither labelled nor predicted."""
        return scores(areas_of(self.confusion))['IoU']

    @property
    def scores(self) -> dict[str, float]:
        """``mIoU``, ``aAcc`` and ``mDice`` in percent, as stock ``IoUMetric`` has them."""
        found = scores(areas_of(self.confusion))
        return {key: found[key] for key in ('mIoU', 'aAcc', 'mDice')}

    @cached_property
    def ranges(self) -> Ranges:
        """How far the scores would vary with other pictures of this kind."""
        return ranges_of(self.areas)

    def pictures_with(self, label: int) -> int:
        """The number of pictures in which a class is labelled."""
        return int((self.areas[:, 3, label] > 0).sum())

    def picture_iou(self, index: int) -> float:
        """Percent: the mean over the classes that are in the truth of a picture; NaN: none is."""
        there = self.areas[index, 3] > 0
        return mean(scores(self.areas[index])['IoU'][there]) if there.any() else float('nan')

    def by_score(self) -> list[int]:
        """The pictures with a label, the worst first."""
        found = {index: self.picture_iou(index) for index in range(len(self.names))}
        return sorted((i for i, value in found.items() if value == value), key=found.get)

    def most_missed(self, label: int) -> int | None:
        """The picture with the most pixels of a class that were taken for others; None if none."""
        missed = self.areas[:, 3, label] - self.areas[:, 0, label]
        return int(missed.argmax()) if missed.any() else None


def examine(network: Network, pictures: LabelledSet, *, batch: int = 4) -> Examined:
    """Labels all pictures of a set, with a progress bar.

    Args:
        network: Of the same classes.
        pictures: The set.
        batch: Pictures of one size that are labelled at once.

    Raises:
        ValueError: a picture cannot be read or labelled, or its labels are no classes.
    """
    names, found, pixels = [], [], []
    count = len(pictures.classes)
    confusion = np.zeros((count, count), np.int64)

    def add(picture: InputImage, labels: np.ndarray) -> None:
        truth = picture.truth
        known = truth != IGNORE_INDEX
        if (truth[known] >= count).any():
            raise ValueError(
                f'{picture.name}: its labels have the value {truth[known].max()}; there are '
                f'{count} classes, and {IGNORE_INDEX} for what is ignored'
            )
        both = truth[known].astype(np.int64) * count + labels[known]
        names.append(picture.name)
        own = np.bincount(both, minlength=count * count).reshape(count, count)
        np.add(confusion, own, out=confusion)
        found.append(areas_of(own))
        pixels.append(truth.size)

    def fail(name: str, error: ValueError) -> None:
        raise ValueError(f'{name}: {error}' if name else str(error))

    with tqdm(total=len(pictures), unit='picture') as bar:
        for done in label_stream(pictures, network, add, batch=batch, bad=fail):
            bar.update(done)
    return Examined(names, confusion, np.stack(found), sum(pixels))
