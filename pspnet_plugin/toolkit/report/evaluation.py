"""Evaluation of a network on a validation set: confusion matrix, areas and scores of each image.

Shapes: M images, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose
from mmseg.registry import DATASETS
from tqdm import tqdm

from pspnet_plugin.apis import Predictor
from pspnet_plugin.datasets.pair_backends import with_decoding
from pspnet_plugin.evaluation.areas import areas_of, mean, scores
from pspnet_plugin.evaluation.iou_metric import main_rule
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.prediction.sources import InputImage
from pspnet_plugin.toolkit.prediction.stream import label_stream
from pspnet_plugin.toolkit.report.bootstrap import score_ranges


class ValidationSet:
    """Photos and label maps of a config's validation set, decoded as its own metric decodes them.

    ``ValueError``: the config has no validation set with classes, or its pipeline loads no labels.
    """

    def __init__(self, config: Config) -> None:
        if not config.get('val_dataloader'):
            raise ValueError(f'{config.filename} has no val_dataloader to evaluate on')
        self.dataset: BaseDataset = DATASETS.build(config.val_dataloader.dataset)
        meta = self.dataset.metainfo
        self.classes: list[str] = list(meta.get('classes') or ())
        self.palette = np.array(meta.get('palette') or (), np.uint8).reshape(-1, 3)  # RGB
        if not self.classes or len(self.palette) != len(self.classes):
            raise ValueError(
                f'{config.filename}: the dataset of val_dataloader has {len(self.classes)} classes '
                f'and {len(self.palette)} colours; give both in metainfo'
            )
        # Arguments of the LabelDecoder of pairs; None: as the dataset decodes them.
        self.decode = main_rule(config.get('val_evaluator'))
        steps = config.val_dataloader.dataset.get('pipeline') or []
        # Types of the transforms between loading and the network.
        self.transforms = [s['type'] for s in steps if not s['type'].startswith(('Load', 'Pack'))]
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
        record = self.dataset.get_data_info(index)
        if self.decode:
            record['seg_map_path'] = with_decoding(record['seg_map_path'], self.decode)
        record = self._load(record)
        name = record['img_path'].rpartition('/')[2]
        return InputImage(name, record['img'], record['gt_seg_map'].astype(np.uint8))

    def __iter__(self) -> Iterator[InputImage]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Evaluation:
    """Pixel counts of a network's predictions over a set, and the scores that follow from them."""

    names: list[str]  # file names of the M images
    confusion: np.ndarray  # (K, K) int64, pixels by truth (rows) and prediction
    areas: np.ndarray  # (M, 4, K) int64, see evaluation/areas.py
    pixels: int  # ignored ones included

    @property
    def coverage(self) -> float:
        """Percentage of labelled pixels."""
        return 100 * float(self.confusion.sum()) / self.pixels

    @cached_property
    def scores(self) -> dict:
        """Result of ``evaluation.areas.scores`` over all images."""
        return scores(areas_of(self.confusion))

    @cached_property
    def ranges(self) -> dict[str, np.ndarray]:
        """Bootstrap ranges of the scores, by the same names."""
        return score_ranges(self.areas)

    def image_iou(self, index: int) -> np.ndarray:
        """(K,) IoU of each class in one image, in percent."""
        return np.asarray(scores(self.areas[index])['IoU'])

    def image_miou(self, index: int) -> float:
        """Mean IoU in percent over the classes labelled in one image; NaN if there are none."""
        return mean(self.image_iou(index)[self.areas[index, 3] > 0])

    def rank_images(self) -> list[int]:
        """Indices of the images with a label, the worst mIoU first."""
        values = [self.image_miou(index) for index in range(len(self.names))]
        return [int(i) for i in np.argsort(values, kind='stable') if not np.isnan(values[i])]

    def most_missed(self, label: int) -> int | None:
        """Index of the image with the most missed pixels of a class; None if none is missed."""
        missed = self.areas[:, 3, label] - self.areas[:, 0, label]
        return int(missed.argmax()) if missed.any() else None


def evaluate(predictor: Predictor, images: ValidationSet, *, batch: int = 4) -> Evaluation:
    """Label all images of a set, up to ``batch`` of one size at once, and count the pixels."""
    names, areas, pixels = [], [], 0
    count = len(images.classes)
    confusion = np.zeros((count, count), np.int64)

    def add(image: InputImage, labels: np.ndarray) -> None:
        nonlocal confusion, pixels
        assert image.truth is not None
        known = image.truth != IGNORE_INDEX
        truth = image.truth[known].astype(np.int64)
        if (truth >= count).any():
            raise ValueError(
                f'{image.name}: the label map holds {truth.max()}; expected class indices below '
                f'{count}, or {IGNORE_INDEX} to ignore'
            )
        cells = np.bincount(truth * count + labels[known], minlength=count**2).reshape(count, -1)
        names.append(image.name)
        areas.append(areas_of(cells))
        confusion += cells
        pixels += image.truth.size

    def fail(name: str, error: ValueError) -> None:
        raise ValueError(f'{name}: {error}' if name else str(error))

    with tqdm(total=len(images), unit='image') as bar:
        for done in label_stream(images, predictor, add, batch=batch, skip=fail):
            bar.update(done)
    if not confusion.any():
        raise ValueError(f'no pixel of the {len(images)} validation images is labelled')
    return Evaluation(names, confusion, np.stack(areas), pixels)
