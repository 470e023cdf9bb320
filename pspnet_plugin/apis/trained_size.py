"""How large the photos were that a network has seen in its training, as its config says."""

from collections.abc import Iterator, Mapping

from mmengine.config import Config


def trained_side(config: Config) -> int | None:
    """Pixels on the longer side of the largest photos of a training.

    In larger ones, things are larger than the network has ever seen them.

    Args:
        config: Its ``train_dataloader`` counts.

    Returns:
        None where it does not say: photos are taken at the size they have.
    """
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    while not dataset.get('pipeline'):  # wrappers have that of the first within them
        inner = dataset.get('dataset') or next(iter(dataset.get('datasets') or ()), None)
        if not isinstance(inner, Mapping):
            return None
        dataset = inner
    sides = [side for step in dataset['pipeline'] if (side := _side_after(step))]
    return sides[-1] if sides else None


def _side_after(step: Mapping) -> int | None:
    """Of the largest photo that leaves a step which makes them of given sizes."""
    if step['type'] not in ('Resize', 'RandomResize', 'RandomChoiceResize', 'ResizeShortestEdge'):
        return None
    scales = step.get('max_size') or step.get('scales') or step.get('scale')
    largest = max(_numbers(scales), default=0)
    if step['type'] == 'RandomResize':
        largest *= max(step.get('ratio_range') or (1,))
    return round(largest) or None


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    for item in value if isinstance(value, list | tuple) else ():
        yield from _numbers(item)
