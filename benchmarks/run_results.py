"""Runs as small files that can be kept: the logs of a work dir without weights and pictures.

A collected run is one JSON file, ``GROUP/LABEL_seedN.json``. Runs of a group were trained under one
protocol and are compared; those that differ in their seed only share a label.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from benchmarks.timing import multiply_adds
from pspnet_plugin.engine.hooks.run_record_hook import RECORD
from pspnet_plugin.toolkit.report.logs import (
    minutes_of,
    read_record,
    read_scalars,
    seconds_of,
    since_begun,
)
from pspnet_plugin.utils.jobs import write_atomic

CURVES = ('loss', 'lr', 'mIoU', 'aAcc')
POINTS = 100
SIDE = 256
# The rules that labels are read by when a run is scored, as the tables call them.
RULES = {
    't40': dict(rule='nearest', max_distance=40),
    'edge-aware': dict(rule='edge_aware', min_confidence=0.8),
}


@dataclass(frozen=True)
class CollectedRun:
    """What is kept of a run.

    Attributes:
        group: Runs under the same protocol.
        label: What distinguishes it in its group.
        config: Name of its config.
        command: What repeats it.
        parameters: Number of weights and biases.
        multiply_adds: Of the inference of one 256x256 picture.
        parts: Starts of the training (see ``RunRecordHook``), since it last began anew.
        scores: Validations and tests.
        curves: Logged scalars, as steps and values, at most 100 points each.
        tested: Whether its score is that of a test, not that of the training's last validation.
        recipe: What distinguishes its settings from others, but for the seed; '' where unknown.
    """

    group: str
    label: str
    config: str
    command: str
    parameters: int
    multiply_adds: int
    parts: list[dict]
    scores: list[dict]
    curves: dict[str, list[list[float]]]
    tested: bool = False
    recipe: str = ''

    @property
    def seed(self) -> int:
        """Of the training."""
        return self.parts[-1]['seed']

    @property
    def minutes(self) -> float:
        """Wall clock of all parts, reading and validations included."""
        return minutes_of(self.parts)

    @property
    def pairs_seen(self) -> int:
        """Training samples drawn."""
        return sum(
            (part.get('last_iteration', part['first_iteration']) - part['first_iteration'])
            * part['batch_size']
            * part['processes']
            for part in self.parts
        )

    def score(self, rule: str) -> dict[str, float]:
        """Metrics under one of ``RULES``: of its test, or of the validation after the last step.

        Raises:
            ValueError: there is none, or no such rule.
        """
        return self.scored(rule)['metrics']

    def scored(self, rule: str) -> dict:
        """The validation or test that ``score`` is of; raises what that does."""
        if rule not in RULES:
            raise ValueError(f'no rule is called {rule!r}; there are {", ".join(RULES)}')
        loop, last = ('test', None) if self.tested else ('val', self.parts[-1]['last_iteration'])
        found = [
            score
            for score in self.scores
            if score['decode'] == RULES[rule]
            and score['loop'] == loop
            and last in (None, score['iteration'])
        ]
        if not found:
            at = 'test' if self.tested else f'validation after step {last}'
            raise ValueError(f'{self.path} holds no {at} under {rule}')
        return found[-1]

    @property
    def path(self) -> Path:
        """Where it is kept, below the folder of all."""
        return kept_path(self.group, self.label, self.seed)

    def write(self, folder: Path) -> Path:
        """Keeps it below a folder."""
        path = folder / self.path
        if path.is_file() and (there := read_kept(path).label) != self.label:
            raise ValueError(f'{path} holds the run {there!r}; give {self.label!r} another label')
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(asdict(self), indent=1, allow_nan=True)
        # A list of numbers a line, not a number a line.
        content = re.sub(r'\[[^][{}]*\]', lambda found: ' '.join(found[0].split()), content)
        write_atomic(path, (content + '\n').encode())
        return path


def kept_path(group: str, label: str, seed: int) -> Path:
    """Where a run is kept, below the folder of all.

    Raises:
        ValueError: group or label cannot name a file.
    """
    slug = re.sub(r'[^a-z0-9.]+', '-', label.lower()).strip('-')
    if not slug or not re.fullmatch(r'\w[\w.-]*', group):
        raise ValueError(
            f'group {group!r}, label {label!r}: they name a folder and a file; expected letters, '
            'digits, ".", "_" and "-" in the group, and a letter or digit of ASCII in the label'
        )
    return Path(group) / f'{slug}_seed{seed}.json'


def collect(
    work_dir: Path,
    *,
    group: str,
    label: str,
    command: str,
    tested: bool = False,
    recipe: str = '',
) -> CollectedRun:
    """Reads the logs of a run.

    Args:
        work_dir: Its folder, where ``RunRecordHook`` was in its config.
        group: This and the following: see ``CollectedRun``.
        label: What distinguishes it in its group.
        command: What repeats it.
        tested: Whether it was tested after its training.
        recipe: A name of its settings.

    Raises:
        FileNotFoundError: the folder holds no record, or no config.
        ValueError: the training did not come to its end.
    """
    record_file = work_dir / RECORD
    if not record_file.is_file():
        raise FileNotFoundError(
            f'{record_file} is missing; expected a work dir of train.py, with '
            "dict(type='RunRecordHook') among the custom_hooks of the config"
        )
    record = read_record(record_file)
    if not record['parts'] or not record['parts'][-1].get('ended'):
        raise ValueError(f'{record_file}: the training did not come to its end; resume it')
    config_file = work_dir / record['parts'][-1]['config']
    if not config_file.is_file():
        raise FileNotFoundError(f'{config_file} is missing; expected the config of the run')
    parameters, count = _size(Config.fromfile(config_file))
    parts, began = since_begun(record['parts'])
    return CollectedRun(
        group=group,
        label=label,
        config=config_file.name,
        command=command,
        parameters=parameters,
        multiply_adds=count,
        parts=parts,
        scores=[s for s in record['scores'] if 'ended' not in s or seconds_of(s['ended']) >= began],
        curves={key: _thinned(*read_scalars(work_dir, key, parts=parts)) for key in CURVES},
        tested=tested,
        recipe=recipe,
    )


def trainings(runs: Sequence[CollectedRun]) -> list[CollectedRun]:
    """One run of each training: some are another's, tested in another way."""
    found: dict[str, CollectedRun] = {}
    for run in sorted(runs, key=lambda run: run.tested):
        found.setdefault(json.dumps(run.parts), run)
    return [run for run in runs if any(run is one for one in found.values())]


def load_runs(folder: Path) -> list[CollectedRun]:
    """All collected runs below a folder, by group, label and seed.

    Raises:
        ValueError: a file is none, or lies where another run would be kept.
    """
    runs = []
    for path in sorted(folder.glob('*/*_seed*.json')):
        run = read_kept(path)
        if path.relative_to(folder) != run.path:
            raise ValueError(
                f'{path} holds the run that is kept as {run.path}, and would count twice or '
                'elsewhere; remove it'
            )
        runs.append(run)
    return sorted(runs, key=lambda run: (run.group, run.label, run.seed))


def read_kept(path: Path) -> CollectedRun:
    """A collected run.

    Raises:
        ValueError: the file holds none.
    """
    try:
        run = CollectedRun(**json.loads(path.read_text()))
        if not run.parts:
            raise ValueError('it has no parts')
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        text = ' '.join(str(error).split())[:200]
        raise ValueError(
            f'{path} is no kept run ({type(error).__name__}: {text}); remove it, and run_group.py '
            'runs it again'
        ) from None
    return run


def _size(config: Config) -> tuple[int, int]:
    init_default_scope(config.get('default_scope', 'mmseg'))
    # Testing with augmentation leaves a config whose network is wrapped.
    model = MODELS.build(config.model.get('module', config.model)).eval()
    picture = torch.zeros(1, 3, SIDE, SIDE)
    with torch.no_grad():
        count = multiply_adds(lambda: model(picture, mode='tensor'))
    return sum(p.numel() for p in model.parameters()), count


def _thinned(steps: list[int], values: list[float]) -> list[list[float]]:
    """At most so many points, each the mean of the values up to it since the one before."""
    if not steps:
        return [[], []]
    groups = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
    means = [float(f'{np.mean([values[i] for i in group]):.5g}') for group in groups]
    return [[steps[group[-1]] for group in groups], means]
