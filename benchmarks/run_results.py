"""Results of training runs as small files: the logs of a work dir without weights and images.

A run is one JSON file, ``GROUP/LABEL_seedN.json``. Runs of a group follow one protocol and are
compared; runs of one label differ in their seed.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from benchmarks.timing import multiply_adds
from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.runs import TrainingRun, minutes_of, open_run
from pspnet_plugin.utils.files import write_atomic

CURVES = ('loss', 'lr', 'mIoU', 'aAcc')
POINTS = 100  # of a curve, at most
CLEAN = 'clean'  # name of photos as they are, among corruptions of them
SIDE = 256  # of the image whose multiply-adds are counted
# The decodings of labels that runs are scored by, as the tables call them.
DECODINGS = {
    't40': dict(rule='nearest', max_distance=40),
    'edge-aware': dict(rule='edge_aware', min_confidence=0.8),
}


@dataclass(frozen=True)
class RunResults:
    """Results of a run, as they are kept."""

    group: str
    label: str
    config: str  # name of its file
    command: str  # repeats the run
    parameters: int
    multiply_adds: int  # in the inference of one 256x256 image
    parts: list[dict]  # starts of the training, see RunRecordHook
    scores: list[dict]  # validations and tests
    curves: dict[str, list[list[float]]]  # steps and values of logged scalars
    tested: bool = False  # scored by a test, not by the last validation of the training
    recipe: str = ''  # see RunPlan.recipe; '' where unknown
    # mIoU and aAcc (t40) under each of ``benchmarks.corruptions``, where they were measured
    corrupted: dict[str, dict[str, float]] = field(default_factory=dict)

    def mean_drop(self, metric: str, names: Sequence[str]) -> float:
        """Return by how much a score is lower than the clean one, on average over corruptions."""
        others = [self.under(name, metric) for name in names if name != CLEAN]
        return self.under(CLEAN, metric) - float(np.mean(others))

    def under(self, corruption: str, metric: str = 'mIoU') -> float:
        """Return a score, t40, under a corruption; clean ones as everywhere else."""
        values = self.score('t40') if corruption == CLEAN else self.corrupted[corruption]
        return values[metric]

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.parts[-1]['seed']

    @property
    def minutes(self) -> float:
        """Wall-clock time, loading and validations included."""
        return minutes_of(self.parts)

    @property
    def pairs_seen(self) -> int:
        """Number of training samples drawn."""
        pairs = 0
        for part in self.parts:
            first, batch = part['first_iteration'], part['batch_size'] * part['processes']
            pairs += (part.get('last_iteration', first) - first) * batch
        return pairs

    def score(self, decoding: str) -> dict[str, float]:
        """Metrics of ``evaluation``."""
        return self.evaluation(decoding)['metrics']

    def evaluation(self, decoding: str) -> dict:
        """Find the test, or the validation after the last step, by one of ``DECODINGS``."""
        if decoding not in DECODINGS:
            raise ValueError(f'no decoding is called {decoding!r}; expected {", ".join(DECODINGS)}')
        last = self.parts[-1]['last_iteration']
        for score in reversed(self.scores):
            at_end = score['loop'] == 'val' and score['iteration'] == last
            is_wanted = score['loop'] == 'test' if self.tested else at_end
            if is_wanted and score['decode'] == DECODINGS[decoding]:
                return score
        missing = 'test' if self.tested else f'validation after step {last}'
        raise ValueError(f'{self.path} holds no {missing} under {decoding}')

    @property
    def path(self) -> Path:
        """File below the folder of all results."""
        return results_path(self.group, self.label, self.seed)

    def write(self, folder: Path) -> Path:
        """Write the file below a folder; refuse to replace a run of another label."""
        path = folder / self.path
        if path.is_file() and (other := read_results(path).label) != self.label:
            raise ValueError(f'{path} holds the run {other!r}; give {self.label!r} another label')
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(asdict(self), indent=1, allow_nan=True)
        # One line for each list of numbers.
        content = re.sub(r'\[[^][{}]*\]', lambda match: ' '.join(match[0].split()), content)
        write_atomic(path, (content + '\n').encode())
        return path


def results_path(group: str, label: str, seed: int) -> Path:
    """File of a run below the folder of all results; raise ValueError for unusable names."""
    slug = re.sub(r'[^a-z0-9.]+', '-', label.lower()).strip('-')
    if not slug or not re.fullmatch(r'\w[\w.-]*', group):
        raise ValueError(
            f'group {group!r}, label {label!r}: they name a folder and a file; expected letters, '
            'digits, ".", "_" and "-" in the group, and a letter or digit of ASCII in the label'
        )
    return Path(group) / f'{slug}_seed{seed}.json'


def collect(
    work_dir: Path, *, group: str, label: str, command: str, tested: bool = False,
    recipe: str = '', test_options: dict | None = None,
) -> RunResults:  # fmt: skip
    """Read the results of a finished run from its work dir.

    The network has ``test_options``, settings by dotted keys; other arguments as in ``RunResults``.
    """
    record = work_dir / RECORD
    if not record.is_file():
        raise FileNotFoundError(
            f'{record} is missing; expected a work dir of train.py, with '
            "dict(type='RunRecordHook') among the custom_hooks of the config"
        )
    run = open_run(work_dir, options=test_options)
    if not run.has_ended:
        raise ValueError(f'{record}: the training has not ended; resume it')
    parameters, count = _size(run.config)
    return RunResults(
        group=group, label=label, config=run.config_name, command=command, parameters=parameters,
        multiply_adds=count, parts=run.parts, scores=run.scores,
        curves={key: _thinned(run, key) for key in CURVES}, tested=tested, recipe=recipe,
    )  # fmt: skip


def distinct_trainings(runs: Sequence[RunResults]) -> list[RunResults]:
    """Keep one run of each training, of which some runs are only another test."""
    first: dict[str, RunResults] = {}
    for run in sorted(runs, key=lambda run: run.tested):
        first.setdefault(json.dumps(run.parts), run)
    return [run for run in runs if run in first.values()]


def load_all_results(folder: Path) -> list[RunResults]:
    """Read all results below a folder, ordered by group, label and seed."""
    runs = []
    for path in sorted(folder.glob('*/*_seed*.json')):
        run = read_results(path)
        if path.relative_to(folder) != run.path:
            raise ValueError(f'{path} holds the run of {run.path}; remove it, or it counts twice')
        runs.append(run)
    return sorted(runs, key=lambda run: (run.group, run.label, run.seed))


def read_results(path: Path) -> RunResults:
    """Read a file of results; raise ValueError if it is none."""
    try:
        run = RunResults(**json.loads(path.read_text()))
        if not run.parts:
            raise ValueError('it has no parts')
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(
            f'{path} holds no results of a run ({type(error).__name__}: {error}); remove it, and '
            'python -m benchmarks.run_group runs it again'
        ) from None
    return run


def _size(config: Config) -> tuple[int, int]:
    """Count the parameters and the multiply-adds of a network."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    model = MODELS.build(config.model).eval()
    image = torch.zeros(1, 3, SIDE, SIDE)
    with torch.no_grad():
        count = multiply_adds(lambda: model(image, mode='tensor'))
    return sum(p.numel() for p in model.parameters()), count


def _thinned(run: TrainingRun, key: str) -> list[list[float]]:
    """Reduce a curve to ``POINTS`` means, each of the values since the point before."""
    steps, values = run.scalars(key)
    if not steps:
        return [[], []]
    groups = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
    means = [float(f'{np.mean([values[i] for i in group]):.5g}') for group in groups]
    return [[steps[group[-1]] for group in groups], means]
