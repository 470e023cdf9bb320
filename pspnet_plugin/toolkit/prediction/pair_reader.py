"""Pairs as photo and truth, read as the datasets and metrics of a config read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from pspnet_plugin.apis.readers import InputImage
from pspnet_plugin.apis.sources import BadImage, Source
from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.datasets.pair_backends import halves, read_pair
from pspnet_plugin.datasets.pairs_dataset import PairsDataset
from pspnet_plugin.evaluation.iou_metric import main_rule
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import read_metainfo


@dataclass(frozen=True)
class PairReader:
    """How the halves of pairs are told apart and read.

    Attributes:
        decoder: Of the classes of the files.
        photo_side: ``'left'`` or ``'right'``.
        label_map: (256,) uint8: of each class of the files, that of the network; 255: ignored.
        classes: Names of those of the network.
    """

    decoder: LabelDecoder
    photo_side: str
    label_map: np.ndarray
    classes: Sequence[str]

    def read(self, source: Source) -> InputImage:
        """A pair as photo and truth.

        Raises:
            BadImage: it is no pair.
        """
        try:
            pair = read_pair(str(source.path))
        except (BadPair, OSError) as error:
            raise BadImage(str(error)) from None
        photo, labels = halves(pair, self.photo_side)
        try:
            truth = self.decoder.decode(np.ascontiguousarray(labels))
        except ValueError as error:
            raise BadImage(f'{source.path}: its label half: {error}') from None
        return InputImage(source.name, np.ascontiguousarray(photo), self.label_map[truth], source)


def make_pair_reader(config: Config | None) -> PairReader:
    """How pairs are read for the scores without a prefix of ``test.py``.

    Args:
        config: Its ``test_dataloader`` and ``test_evaluator`` count.

    Raises:
        ValueError: it has no dataset of pairs.
    """
    dataset, kind = _dataset_of_pairs(config)
    if kind is None:
        raise ValueError(
            '--pairs needs --config with a test_dataloader of pairs (CityscapesPairsDataset, '
            'PairsDataset): it says which half is the photo, and which colours are known'
        )
    metainfo = dataset.get('metainfo')
    if isinstance(metainfo, str):
        metainfo = read_metainfo(metainfo, option='metainfo=')
    own = dict(dataset.get('decode') or {})
    if rule := main_rule(config.get('test_evaluator')):  # as ``with_decoding`` does
        own = {key: own[key] for key in ('min_explained',) if key in own} | rule
    decoder = kind.make_decoder(metainfo, own)
    table = np.arange(256, dtype=np.uint8)
    classes = kind._load_metainfo(metainfo).get('classes')
    for of_files, of_network in (kind.get_label_map(classes and list(classes)) or {}).items():
        table[of_files] = of_network
    return PairReader(decoder, dataset.get('photo_side', 'left'), table, classes)


def photo_side_of(config: Config | None) -> str:
    """``'left'`` or ``'right'``: where photos are in the pairs of a config; left where it has none.

    Args:
        config: Its ``test_dataloader`` counts.
    """
    dataset, kind = _dataset_of_pairs(config)
    return dataset.get('photo_side', 'left') if kind else 'left'


def _dataset_of_pairs(config: Config | None) -> tuple[dict, type[PairsDataset] | None]:
    """Of a config the dataset that it is tested on, and its class, if it is one of pairs."""
    dataset = (config.get('test_dataloader') or {}).get('dataset', {}) if config else {}
    kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    return dataset, kind if kind is not None and issubclass(kind, PairsDataset) else None
