"""Checks before the first step of a training that its data and its network fit together."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.runner import Runner
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.models import EncoderDecoder
from torch import nn

from pspnet_plugin.datasets.bad_pairs import unwrap

LONGEST_LOOK = 5.0  # seconds in which label maps are searched for absent classes


def check_data(runner: Runner, dataset: Any) -> None:
    """Check classes and weights of the loss; warn of absent classes and of scored training images.

    ``ValueError``: the network's classes, or the weights, are not for those of the training data.
    """
    model = getattr(runner.model, 'module', runner.model)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes and isinstance(model, EncoderDecoder):
        check_classes(model, classes)
    starts = is_main_process() and not runner.iter
    if classes and starts and (warning := _warn_of_absent(dataset, classes)):
        runner.logger.warning(warning)
    if runner.val_loop is not None and (trained_on := _image_paths(dataset)):
        scored = _image_paths(runner.val_loop.dataloader.dataset)
        if both := trained_on & scored:
            runner.logger.warning(
                f'{len(both)} of the {len(scored)} images of val_dataloader are trained on too, '
                f'such as {min(both)}: hold some out, by folders train and val, or by folds.'
            )


def check_classes(model: EncoderDecoder, classes: Sequence[str]) -> None:
    """Check the classes of a network's heads, and the class weights of their losses.

    ``ValueError``: they are for another number of classes, or there is only one.
    """
    if len(classes) == 1:
        raise ValueError(
            f'the data has one class alone ({classes[0]}); name the rest too, such as background'
        )
    for name in ('decode_head', 'auxiliary_head'):
        for head in _modules(getattr(model, name, None)):
            if (count := head.num_classes) != len(classes):
                raise ValueError(
                    f'model.{name}.num_classes is {count}, and the data has {len(classes)} classes '
                    f'({", ".join(classes[:4])}{" …" if len(classes) > 4 else ""}); set it to '
                    f'{len(classes)}'
                )
            for loss in _modules(head.loss_decode):
                weights = getattr(loss, 'class_weight', None)
                if weights is not None and len(weights) != count:
                    raise ValueError(
                        f'model.{name}.loss_decode.class_weight has {len(weights)} values for '
                        f'{count} classes; give one for each, or None for equal weights'
                    )


def _warn_of_absent(dataset: Any, classes: Sequence[str]) -> str:
    """Return a warning that names classes without a pixel in the training data; '' without any.

    Label maps are read, in an order that spreads over the set, until every class is found, or for
    some seconds. Nothing is said of data that is loaded in another way.
    """
    pipelines = [getattr(part, 'pipeline', None) for part in unwrap(dataset)]
    steps = [step for pipeline in pipelines for step in getattr(pipeline, 'transforms', ())]
    load = next((step for step in steps if type(step) is LoadAnnotations), None)
    if load is None:
        return ''
    absent, looked_at, started = set(range(len(classes))), 0, time.monotonic()
    for index in np.random.default_rng(0).permutation(len(dataset)).tolist():
        try:
            labels = load(dataset.get_data_info(index))['gt_seg_map']
        except Exception:  # of any loader and file; it is reported where it is trained on
            continue
        absent -= set(np.unique(labels).tolist())
        looked_at += 1
        if not absent or time.monotonic() - started > LONGEST_LOOK:
            break
    if not absent or not looked_at:
        return ''
    named = ', '.join(classes[i] for i in sorted(absent)[:10]) + (' …' if len(absent) > 10 else '')
    return (
        f'no pixel of {named} in {looked_at} of the {len(dataset)} label maps of train_dataloader: '
        'what never occurs cannot be learnt. Check the labels, or the classes'
    )


def _modules(part: Any) -> Iterable[Any]:
    if part is None:
        return []
    return part if isinstance(part, nn.ModuleList) else [part]


def _image_paths(dataset: Any) -> set[str]:
    """Return the ``img_path`` of all records; none where the dataset has no such records."""
    if not hasattr(dataset, 'get_data_info'):
        return set()
    records = map(dataset.get_data_info, range(len(dataset)))
    return {record.get('img_path', '') for record in records} - {''}
