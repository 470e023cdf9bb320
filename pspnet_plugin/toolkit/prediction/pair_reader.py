"""Pairs as photo and truth, read as the datasets and metrics of a config read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from pspnet_plugin.apis import BadImage
from pspnet_plugin.datasets.bad_pairs import BadPair
from pspnet_plugin.datasets.pair_backends import halves, read_pair
from pspnet_plugin.datasets.pairs_dataset import PairsDataset
from pspnet_plugin.evaluation.iou_metric import main_rule
from pspnet_plugin.labels.decoder import LabelDecoder
from pspnet_plugin.labels.palettes import read_metainfo
from pspnet_plugin.toolkit.prediction.sources import InputImage, Source


@dataclass(frozen=True)
class PairReader:
    """Reader of pairs as photo and truth."""

    decoder: LabelDecoder  # of the label half, into the classes of the files
    photo_side: str
    label_map: np.ndarray  # (256,) uint8, class index of the files to that of the network, or 255
    classes: Sequence[str]  # of the network

    def read(self, source: Source) -> InputImage:
        """Read a pair; ``BadImage`` if it is none."""
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
    """Make the reader for the scores without a prefix of ``test.py``.

    ``ValueError``: the config's ``test_dataloader`` has no dataset of pairs.
    """
    dataset, kind = _pairs_dataset(config)
    if config is None or kind is None:
        raise ValueError(
            '--pairs needs a --config with a test_dataloader of pairs (CityscapesPairsDataset, '
            'PairsDataset), which has the side of the photo and the colours of the classes'
        )
    metainfo = dataset.get('metainfo')
    if isinstance(metainfo, str):
        metainfo = read_metainfo(metainfo, option='metainfo=')
    decode = dict(dataset.get('decode') or {})
    if rule := main_rule(config.get('test_evaluator')):  # as ``with_decoding`` does
        decode = {key: decode[key] for key in ('min_explained',) if key in decode} | rule
    decoder = kind.make_decoder(metainfo, decode)
    label_map = np.arange(256, dtype=np.uint8)
    classes = kind._load_metainfo(metainfo).get('classes')
    for in_files, in_network in (kind.get_label_map(classes and list(classes)) or {}).items():
        label_map[in_files] = in_network
    return PairReader(decoder, photo_side_of(config), label_map, classes)


def photo_side_of(config: Config | None) -> str:
    """Return the side of the photo in the pairs that a config tests on; left if it has none."""
    dataset, kind = _pairs_dataset(config)
    return dataset.get('photo_side', 'left') if kind else 'left'


def _pairs_dataset(config: Config | None) -> tuple[dict, type[PairsDataset] | None]:
    """Return the dataset that a config tests on, and its class if it is one of pairs."""
    dataset = (config.get('test_dataloader') or {}).get('dataset', {}) if config else {}
    kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    return dataset, kind if kind is not None and issubclass(kind, PairsDataset) else None
