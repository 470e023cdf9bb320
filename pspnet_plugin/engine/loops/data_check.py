"""Checks before the first step of a training that its data and its network fit together."""

from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner
from mmseg.models import EncoderDecoder
from torch import nn


def check_data(runner: Runner, dataset: Any) -> None:
    """Check classes and weights of the loss; warn of images both trained on and scored.

    Raises:
        ValueError: the network's classes, or the weights, are not for those of the training data.
    """
    model = getattr(runner.model, 'module', runner.model)
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes and isinstance(model, EncoderDecoder):
        check_classes(model, classes)
    if runner.val_loop is not None and (trained_on := _image_paths(dataset)):
        scored = _image_paths(runner.val_loop.dataloader.dataset)
        if both := trained_on & scored:
            runner.logger.warning(
                f'{len(both)} of the {len(scored)} images of val_dataloader are trained on too, '
                f'such as {min(both)}: its scores then say little about other images. Hold some '
                'out: folders train and val, or folds in the datasets.'
            )


def check_classes(model: EncoderDecoder, classes: Sequence[str]) -> None:
    """Check that the heads of a network, and the weights of their losses, are for these classes.

    Raises:
        ValueError: they are for another number of them, or there is only one class.
    """
    if len(classes) == 1:
        raise ValueError(
            f'the data has one class alone ({classes[0]}), and every pixel would be given it; name '
            'the rest as a class too, such as background'
        )
    heads = [('decode_head', model.decode_head)]
    if getattr(model, 'auxiliary_head', None) is not None:
        heads.append(('auxiliary_head', model.auxiliary_head))
    for name, part in heads:
        for head in part if isinstance(part, nn.ModuleList) else [part]:
            if (count := head.num_classes) != len(classes):
                raise ValueError(
                    f'model.{name}.num_classes is {count}, and the data has {len(classes)} classes '
                    f'({", ".join(classes[:4])}{" …" if len(classes) > 4 else ""}); set it to '
                    f'{len(classes)}'
                )
            losses = head.loss_decode
            for loss in losses if isinstance(losses, nn.ModuleList) else [losses]:
                weights = getattr(loss, 'class_weight', None)
                if weights is not None and len(weights) != count:
                    raise ValueError(
                        f'model.{name}.loss_decode.class_weight has {len(weights)} values for '
                        f'{count} classes; give one for each, or None for equal weights'
                    )


def _image_paths(dataset: Any) -> set[str]:
    """Return the ``img_path`` of all records; none where the dataset has no such records."""
    get = getattr(dataset, 'get_data_info', None)
    if get is None:
        return set()
    return {get(index).get('img_path', '') for index in range(len(dataset))} - {''}
