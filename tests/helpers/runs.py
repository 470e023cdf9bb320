"""Kept results of trainings, made up."""

from dataclasses import replace

from benchmarks.run_results import DECODINGS, RunResults

PART = dict(
    seed=0, seconds=1500, first_iteration=0, last_iteration=100, batch_size=8, processes=2, gpu='',
    processor='A', cores=2, threads=2, python='3.11', torch='2', mmseg='1', mmengine='2', mmcv='3',
    peak_bytes=5 * 10**8, train_pairs=2678,
)  # fmt: skip


def made_run(label: str, miou: float, *, part: dict | None = None, **changes) -> RunResults:
    """Make results of 100 iterations with known scores, with changes of their part and fields."""
    metrics = {'aAcc': 90.0, 'mDice': 50.0, 'IoU.road': 95.0, 'IoU.pole': miou, 'coverage': 96.04}
    scores = [
        dict(
            decode=DECODINGS[name], loop='val', iteration=100, split='val', pairs=500,
            metrics={'mIoU': miou + shift, **metrics},
        )
        for name, shift in (('t40', 0), ('edge-aware', 1.5))
    ]  # fmt: skip
    values = dict(
        group='clock', label=label, config='psp_demo.py', command='python', parameters=2_345_678,
        multiply_adds=10**9, parts=[PART | (part or {})], scores=scores,
        curves={'loss': [[1, 2], [2.0, 1.0]]},
    )  # fmt: skip
    return RunResults(**values | changes)


def as_test(run: RunResults, label: str) -> RunResults:
    """Copy of a run, tested in another way."""
    tests = [{**score, 'loop': 'test'} for score in run.scores]
    return replace(run, label=label, tested=True, scores=run.scores + tests)
