"""Tables of collected runs in Markdown, for a page whose prose is a template."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

import jinja2

from benchmarks.run_results import RULES, CollectedRun, trainings
from pspnet_plugin.utils.tables import markdown_table

METRICS = ('mIoU', 'aAcc', 'mDice')
HEADINGS = dict(mIoU='mIoU', aAcc='pixel accuracy', mDice='mean Dice')


def render(template: str, runs: Sequence[CollectedRun]) -> str:
    """The page.

    Args:
        template: Jinja2; may call ``scores(group)``, ``costs(group)``, ``choices(group, rule,
            base)``, ``growth(rule, rows)``, the rows by group and label, ``classes(group, rule,
            labels)``, ``coverage(group, rule)``, ``machines(group)`` and ``steps(group, label)``, a
            number of optimizer's steps.
        runs: All collected runs.

    Raises:
        ValueError: the template is none, or asks for a group, a label or a rule that no run has;
            or runs that are not of one kind would stand in one table.
    """
    groups = defaultdict(lambda: defaultdict(list))
    for run in runs:
        groups[run.group][run.label].append(run)

    def group(name: str) -> dict[str, list[CollectedRun]]:
        if name not in groups:
            raise ValueError(f'no run was collected into {name!r}; there are {sorted(groups)}')
        _check_alike(name, groups[name])
        return groups[name]

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    environment.globals.update(
        scores=lambda name: _scores(group(name)),
        costs=lambda name: _costs(sum(group(name).values(), [])),
        choices=lambda name, rule, base: _choices(group(name), rule, base),
        growth=lambda rule, rows: _growth([_of(group(g), label) for g, label in rows], rule),
        classes=lambda name, rule, labels: _classes(group(name), rule, labels),
        coverage=lambda name, rule: _coverage(group(name), rule),
        machines=lambda name: _machines(group(name)),
        steps=lambda name, label: _steps(_of(group(name), label)),
    )
    try:
        return environment.from_string(template).render()
    except (jinja2.TemplateError, TypeError) as error:
        line = getattr(error, 'lineno', None)
        raise ValueError(f'the template{f", line {line}" if line else ""}: {error}') from error


def _check_alike(name: str, labels: dict[str, list[CollectedRun]]) -> None:
    """One line is of one recipe; one table of one set of pictures."""
    for label, runs in labels.items():
        if len({run.recipe for run in runs if run.recipe}) > 1:
            raise ValueError(f'{name}, {label!r}: its seeds were trained with different settings')
    _check_set(name, sum(labels.values(), []))


def _check_set(where: str, runs: Sequence[CollectedRun]) -> None:
    scored = [run.scored('t40') for run in runs]
    if len(found := {(score['split'], score['pairs']) for score in scored}) > 1:
        sets = ', '.join(f'{pairs} pairs of {split}' for split, pairs in sorted(found))
        raise ValueError(f'{where}: its runs were scored on different sets: {sets}')


def spread(values: Sequence[float]) -> str:
    """Mean of several seeds and, in brackets, the lowest and the highest."""
    if len(values) == 1:
        return f'{values[0]:.1f}'
    return f'{mean(values):.1f} ({min(values):.1f} to {max(values):.1f})'


def _values(runs: list[CollectedRun], rule: str, metric: str) -> list[float]:
    return [run.score(rule)[metric] for run in runs]


def _cell(runs: list[CollectedRun], rule: str, metric: str) -> str:
    return spread(_values(runs, rule, metric))


def _seen(runs: list[CollectedRun]) -> str:
    """Training samples drawn, as ``spread`` has it."""
    values = [run.pairs_seen for run in runs]
    if len(values) == 1:
        return f'{values[0]:,}'
    return f'{round(mean(values)):,} ({min(values):,} to {max(values):,})'


def _steps(runs: list[CollectedRun]) -> str:
    """Of the optimizer."""
    return ' or '.join(f'{n:,}' for n in sorted({run.parts[-1]['last_iteration'] for run in runs}))


def _scores(labels: dict[str, list[CollectedRun]]) -> str:
    """A line a network, the best first: size, what it was given, and scores by both rules."""
    head = ['network', 'config', 'M parameters', 'G multiply-adds', 'pairs seen', 'minutes']
    head += [f'{HEADINGS[m]}, {rule}' for rule in RULES for m in METRICS] + ['seeds']
    rows = []
    for label, runs in labels.items():
        one = runs[0]
        row = [
            label,
            f'`{one.config}`',
            f'{one.parameters / 1e6:.2f}',
            f'{one.multiply_adds / 1e9:.2f}',
            _seen(runs),
            spread([run.minutes for run in runs]),
            *(_cell(runs, rule, metric) for rule in RULES for metric in METRICS),
            ', '.join(str(run.seed) for run in runs),
        ]
        rows.append((mean(_values(runs, 't40', 'mIoU')), row))
    rows.sort(key=lambda entry: -entry[0])
    return markdown_table(head, [row for _, row in rows])


def _costs(runs: Sequence[CollectedRun]) -> str:
    """A line a training, the fastest first: what it made of the machine, and took of it."""
    labels = defaultdict(list)
    for run in trainings(runs):
        labels[run.label].append(run)
    rows = []
    for label, own in labels.items():
        speeds = [run.pairs_seen / run.minutes / 60 for run in own]
        memory = [max(part['peak_bytes'] for part in run.parts) / 1e9 for run in own]
        rows.append((-mean(speeds), [label, spread(speeds), spread(memory)]))
    head = ['network', 'training pairs a second', 'memory, GB']
    return markdown_table(head, [row for _, row in sorted(rows)])


def _choices(labels: dict[str, list[CollectedRun]], rule: str, base: str) -> str:
    """A line a choice, with its difference to the run that all others change one thing of."""
    at = mean(_values(_of(labels, base), rule, 'mIoU'))
    rows = []
    for label, runs in labels.items():
        values = _values(runs, rule, 'mIoU')
        gain = '' if label == base else f'{mean(values) - at:+.1f}'
        row = [label, spread(values), gain, _cell(runs, rule, 'aAcc'), _seen(runs)]
        rows.append((label != base, -mean(values), [*row, spread([run.minutes for run in runs])]))
    head = ['choice', 'mIoU', 'difference', 'pixel accuracy', 'pairs seen', 'minutes']
    return markdown_table(head, [row for _, _, row in sorted(rows)])


def _growth(wanted: Sequence[list[CollectedRun]], rule: str) -> str:
    """A line a number of pairs that was trained on, in the order asked for."""
    _check_set('growth', sum(wanted, []))
    rows = []
    for runs in wanted:
        pairs = ' or '.join(
            f'{n:,}' for n in sorted({run.parts[-1]['train_pairs'] for run in runs})
        )
        rows.append([pairs, _seen(runs), *(_cell(runs, rule, metric) for metric in METRICS)])
    return markdown_table(['pairs', 'pairs seen', *(HEADINGS[metric] for metric in METRICS)], rows)


def _of(labels: dict[str, list[CollectedRun]], label: str) -> list[CollectedRun]:
    if label not in labels:
        raise ValueError(f'no run is called {label!r}; there are {sorted(labels)}')
    return labels[label]


def _classes(labels: dict[str, list[CollectedRun]], rule: str, wanted: Sequence[str]) -> str:
    """IoU of each class, a column a network, the best class of the first network first."""
    if not wanted:
        raise ValueError(f'classes: expected labels of runs; there are {sorted(labels)}')
    columns = {}
    for label in wanted:
        scores = [run.score(rule) for run in _of(labels, label)]
        columns[label] = {
            key.partition('.')[2]: mean(score[key] for score in scores)
            for key in scores[0]
            if key.startswith('IoU.')
        }
    first = columns[wanted[0]]
    rows = [
        [name, *(f'{columns[label][name]:.1f}' for label in wanted)]
        for name in sorted(first, key=first.get, reverse=True)
    ]
    return markdown_table(['class', *wanted], rows)


def _coverage(labels: dict[str, list[CollectedRun]], rule: str) -> str:
    """The share of pixels that a rule labels, in percent."""
    found = {
        f'{value:.1f}' for runs in labels.values() for value in _values(runs, rule, 'coverage')
    }
    return ' or '.join(sorted(found))


def _machines(labels: dict[str, list[CollectedRun]]) -> str:
    """What the runs of a group ran on, under which versions, and of which commits."""
    commits = defaultdict(set)
    for part in (part for runs in labels.values() for run in runs for part in run.parts):
        precision = f', {part["precision"]}' if part.get('precision') else ''
        machine = (
            f'{part["gpu"] or part["processor"]}, '
            f'CPU cores: {part["cores"]}, threads: {part["threads"]}{precision}; '
            f'Python {part["python"]}, torch {part["torch"]}, mmseg {part["mmseg"]}, '
            f'mmengine {part["mmengine"]}, mmcv {part["mmcv"]}'
        )
        commits[machine].add(part.get('commit') or 'unknown')
    return '\n'.join(
        f'- {machine}; commit {", ".join(sorted(found))}' for machine, found in commits.items()
    )
