"""Score trained networks on photos as other cameras and files have them.

Example:
    python -m benchmarks.corruptions cpu25 --only recommended --seeds 0

Takes the trainings of a group that ``run_group`` has made and kept, labels the photos that they
were validated on under each of ``CORRUPTIONS``, and writes the scores (t40) into the results.
"""

import argparse
import copy
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS
from tqdm import tqdm

from benchmarks.run_group import add_selection, select
from benchmarks.run_plans import read_plans
from benchmarks.run_results import CLEAN, DECODINGS, read_results
from pspnet_plugin import Predictor
from pspnet_plugin.evaluation.areas import areas, scores
from pspnet_plugin.toolkit.report.runs import open_run
from pspnet_plugin.utils.command_line import add_debug, run_command

SAME = 0.1  # percent of mIoU between batches of a validation and single photos
Corrupt = Callable[[np.ndarray], np.ndarray]


def gamma(photo: np.ndarray, *, power: float) -> np.ndarray:
    """Brighten (power below 1) or darken a photo, (H, W, 3) uint8."""
    table = 255 * (np.arange(256) / 255) ** power
    return cv2.LUT(photo, np.rint(table).astype(np.uint8))


def white_balance(photo: np.ndarray, *, red: float, blue: float) -> np.ndarray:
    """Multiply two channels of a BGR photo."""
    return np.rint(photo * np.array([blue, 1, red])).clip(0, 255).astype(np.uint8)


def noise(photo: np.ndarray, *, sigma: float) -> np.ndarray:
    """Add normal noise of so many levels; that of a photo is always the same."""
    added = np.random.default_rng(zlib.crc32(photo.tobytes())).normal(0, sigma, photo.shape)
    return np.rint(photo + added).clip(0, 255).astype(np.uint8)


def jpeg(photo: np.ndarray, *, quality: int) -> np.ndarray:
    """Compress a photo."""
    content = cv2.imencode('.jpg', photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))


def resize(
    photo: np.ndarray, *, width: float, height: float, interpolation: int = cv2.INTER_AREA
) -> np.ndarray:
    """Scale the sides of a photo."""
    return cv2.resize(photo, None, fx=width, fy=height, interpolation=interpolation)


CORRUPTIONS: dict[str, Corrupt] = {
    CLEAN: lambda photo: photo,
    'gamma 0.5': partial(gamma, power=0.5),
    'gamma 2': partial(gamma, power=2),
    'warm': partial(white_balance, red=1.3, blue=0.7),
    'cold': partial(white_balance, red=0.7, blue=1.3),
    'blur': partial(cv2.GaussianBlur, ksize=(0, 0), sigmaX=1.5),
    'noise': partial(noise, sigma=15),
    'JPEG 30': partial(jpeg, quality=30),
    '4:3': partial(resize, width=4 / 3, height=1),
    '2:1': partial(resize, width=2, height=1, interpolation=cv2.INTER_LINEAR),
    'half size': partial(resize, width=0.5, height=0.5),
}


def evaluate(
    label: Callable[[np.ndarray], np.ndarray],
    records: Any,
    classes: int,
    names: Sequence[str] = tuple(CORRUPTIONS),
) -> dict[str, dict[str, float]]:
    """Score a network under corruptions.

    Args:
        label: The network, from a photo (H, W, 3) uint8 BGR to class indices (H, W).
        records: Records with ``img`` and ``gt_seg_map``, of the same (H, W).
        classes: Number of classes.
        names: Corruptions.
    """
    totals = {name: np.zeros((4, classes), np.int64) for name in names}
    for i in tqdm(range(len(records)), unit='photo'):
        photo, truth = records[i]['img'], records[i]['gt_seg_map']
        for name in names:
            labels = label(CORRUPTIONS[name](photo))
            if labels.shape != truth.shape:
                size = truth.shape[::-1]
                labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
            totals[name] += areas(labels, truth, classes)
    found = {name: scores(total) for name, total in totals.items()}
    return {
        name: {key: round(float(score[key]), 2) for key in ('mIoU', 'aAcc')}
        for name, score in found.items()
    }


def evaluate_run(work_dir: Path) -> dict[str, dict[str, float]]:
    """Score the last checkpoint of a work dir on its validation set."""
    config = open_run(work_dir).config
    pointer = (work_dir / 'last_checkpoint').read_text()
    return evaluate_weights(config, work_dir / Path(pointer.strip()).name)


def evaluate_weights(
    config: Config, checkpoint: Path, names: Sequence[str] = tuple(CORRUPTIONS)
) -> dict[str, dict[str, float]]:
    """Score weights on the validation set of their config, under corruptions."""
    predictor = Predictor(config, checkpoint, max_side=None)
    data = copy.deepcopy(config.val_dataloader.dataset)
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    data.update(pipeline=load, decode=DECODINGS['t40'])
    dataset = DATASETS.build(data)
    return evaluate(lambda photo: predictor(photo).labels, dataset, len(predictor.classes), names)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_selection(parser)
    add_debug(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Score the kept runs of a group.

    ``ValueError``: a row is no plain training, or its work dir is not that of the kept results.
    """
    plans = select(read_plans(args.runs, args.group), args.only, args.seeds)
    if special := [plan.label for plan in plans if plan.of or plan.test is not None]:
        raise ValueError(f'{special[0]!r} is a test of its own; give trainings alone by --only')
    for plan in plans:
        kept = read_results(args.results / plan.path)
        corrupted = evaluate_run(args.work_dirs / plan.folder)
        before, now = kept.score('t40')['mIoU'], corrupted[CLEAN]['mIoU']
        if abs(before - now) > SAME:
            raise ValueError(
                f'{args.work_dirs / plan.folder} scores {now} on clean photos, and the kept '
                f'results of {plan.label!r} say {before}: it holds another training'
            )
        found = replace(kept, corrupted=corrupted)
        found.write(args.results)
        drop = found.mean_drop('mIoU', list(corrupted))
        print(f'{plan.label}, seed {plan.seed}: {corrupted[CLEAN]}, mean drop of mIoU {drop:.1f}')


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for the exit status."""
    return run_command('corruptions', run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
