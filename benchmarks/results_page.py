"""Page of results: a template of prose, which calls the tables of runs in Markdown."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

import jinja2

from benchmarks import heads, networks, training
from benchmarks.run_results import DECODINGS, RunResults, distinct_trainings
from benchmarks.tables import format_rows, markdown_table
from benchmarks.timing import Ratio

METRICS = dict(mIoU='mIoU', aAcc='pixel accuracy', mDice='mean Dice')
Rows = dict[str, list[RunResults]]  # runs of a group by label, which differ in their seeds


def render(template: str, runs: Sequence[RunResults], *, gpu: Path | None = None) -> str:
    """Fill a Jinja2 template, which may call the public methods of ``Tables``.

    ``gpu`` is a folder of files of ``benchmarks/gpu.sh``.

    ``ValueError``: the template is broken or asks for what no run has, or a table would mix runs
    that do not compare.
    """
    tables = Tables(runs, gpu)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    names = [name for name in dir(tables) if not name.startswith('_')]
    environment.globals.update({name: getattr(tables, name) for name in names})
    try:
        return environment.from_string(template).render()
    except (jinja2.TemplateError, TypeError) as error:
        line = getattr(error, 'lineno', None)
        raise ValueError(f'the template{f", line {line}" if line else ""}: {error}') from error


def spread(values: Sequence[float], spec: str = '.1f') -> str:
    """Format the mean of several seeds and, in brackets, the lowest and the highest."""
    if len(values) == 1:
        return format(values[0], spec)
    return f'{mean(values):{spec}} ({min(values):{spec}} to {max(values):{spec}})'


class Tables:
    """Tables of the runs of a group; ``decoding`` is one of ``DECODINGS``."""

    def __init__(self, runs: Sequence[RunResults], gpu: Path | None = None) -> None:
        self._gpu = gpu
        self._groups: dict[str, Rows] = defaultdict(lambda: defaultdict(list))
        for run in runs:
            self._groups[run.group][run.label].append(run)

    def scores(self, group: str) -> str:
        """Table of networks, the best first: size, training, and scores by all decodings."""
        head = ['network', 'config', 'M parameters', 'G multiply-adds', 'pairs seen', 'minutes']
        head += [f'{METRICS[m]}, {d}' for d in DECODINGS for m in METRICS] + ['seeds']
        rows = [
            [
                label, f'`{runs[0].config}`', f'{runs[0].parameters / 1e6:.2f}',
                f'{runs[0].multiply_adds / 1e9:.2f}', _pairs_seen(runs), _minutes(runs),
                *(spread(_values(runs, d, m)) for d in DECODINGS for m in METRICS),
                ', '.join(str(run.seed) for run in runs),
            ]
            for label, runs in self._group(group).items()
        ]  # fmt: skip
        best_first = sorted(rows, key=lambda row: -_mean_iou(self._row(group, row[0]), 't40'))
        return markdown_table(head, best_first)

    def costs(self, group: str) -> str:
        """Table of trainings, the fastest first: speed and memory."""
        trainings = defaultdict(list)
        for run in distinct_trainings(sum(self._group(group).values(), [])):
            trainings[run.label].append(run)
        rows = []
        for label, runs in trainings.items():
            speeds = [run.pairs_seen / run.minutes / 60 for run in runs]
            memory = [max(part['peak_bytes'] for part in run.parts) / 1e9 for run in runs]
            rows.append((-mean(speeds), [label, spread(speeds), spread(memory)]))
        head = ['network', 'training pairs a second', 'memory, GB']
        return markdown_table(head, [row for _, row in sorted(rows)])

    def choices(self, group: str, decoding: str, base: str) -> str:
        """Table of runs that change one thing of ``base``, with the difference in score."""
        found = self._group(group)
        reference = _mean_iou(self._row(group, base), decoding)
        rows = []
        for label, runs in found.items():
            score = _mean_iou(runs, decoding)
            row = [label, spread(_values(runs, decoding, 'mIoU'))]
            row.append('' if label == base else f'{score - reference:+.1f}')
            row += [spread(_values(runs, decoding, 'aAcc')), _pairs_seen(runs), _minutes(runs)]
            rows.append((label != base, -score, row))
        head = ['choice', 'mIoU', 'difference', 'pixel accuracy', 'pairs seen', 'minutes']
        return markdown_table(head, [row for _, _, row in sorted(rows)])

    def growth(self, group: str, decoding: str, starts: Sequence[str]) -> str:
        """Table of runs labelled ``N pairs, START``, by N, with columns for each of ``starts``."""
        numbers = dict.fromkeys(label.partition(' pairs, ')[0] for label in self._group(group))
        rows = []
        for number in sorted(numbers, key=lambda text: int(text.replace(',', ''))):
            runs = [self._row(group, f'{number} pairs, {start}') for start in starts]
            values = [spread(_values(run, decoding, m)) for m in ('mIoU', 'aAcc') for run in runs]
            rows.append([number, *values])
        head = [f'{METRICS[m]}, {start}' for m in ('mIoU', 'aAcc') for start in starts]
        return markdown_table(['pairs', *head], rows)

    def classes(self, group: str, decoding: str, labels: Sequence[str]) -> str:
        """Table of class IoU, a column for each network, the best class of the first on top."""
        if not labels:
            raise ValueError(f'classes: expected labels of runs: {sorted(self._group(group))}')
        columns = [class_iou(self._row(group, label), decoding) for label in labels]
        names = sorted(columns[0], key=columns[0].__getitem__, reverse=True)
        rows = [[name, *(f'{column[name]:.1f}' for column in columns)] for name in names]
        return markdown_table(['class', *labels], rows)

    def corruptions(self, wanted: Sequence[tuple[str, str]], metric: str = 'mIoU') -> str:
        """Table of runs, given as (group, label), under ``benchmarks.corruptions`` (t40).

        Its columns are the corruptions that all of them were scored under.
        """
        found = {}
        for group, label in wanted:
            found[label] = [run for run in self._row(group, label) if run.corrupted]
            if not found[label]:
                raise ValueError(f'{group}, {label!r}: not scored by benchmarks.corruptions')
        scored = [run.corrupted for runs in found.values() for run in runs]
        names = [name for name in scored[0] if all(name in scores for scores in scored)]
        rows = []
        for label, runs in found.items():
            values = (mean(run.under(name, metric) for run in runs) for name in names)
            drop = spread([run.mean_drop(metric, names) for run in runs])
            rows.append([label, *(f'{value:.1f}' for value in values), drop])
        return markdown_table(['network', *names, 'mean drop'], rows)

    def coverage(self, group: str, decoding: str) -> str:
        """Percentage of the pixels that a decoding labels."""
        runs = sum(self._group(group).values(), [])
        return _unique(_values(runs, decoding, 'coverage'), '.1f')

    def on_gpu(self) -> str:
        """Tables of the files of ``benchmarks/gpu.sh``, or that there are none."""
        texts = []
        for path in sorted(self._gpu.glob('*.json')) if self._gpu else ():
            found = json.loads(path.read_text())
            part = dict(heads=heads, networks=networks, training=training)
            columns = part[path.stem.partition('_')[0]].COLUMNS
            for row in found['rows']:
                if 'speedup' in row:
                    row['speedup'] = Ratio(*row['speedup'])
            machine = f'{found["about"]["processor"]}, torch {found["about"]["torch"]}'
            texts.append(f'`{path.stem}`, {machine}:\n\n{format_rows(found["rows"], columns)}')
        return '\n\n'.join(texts) or 'Nothing yet, for none was at hand.'

    def machines(self, group: str) -> str:
        """List of the machines and versions of a group, with their commits."""
        commits = defaultdict(set)
        for part in (p for runs in self._group(group).values() for r in runs for p in r.parts):
            precision = f', {part["precision"]}' if part.get('precision') else ''
            versions = [f'{key} {part[key]}' for key in ('torch', 'mmseg', 'mmengine', 'mmcv')]
            machine = (
                f'{part["gpu"] or part["processor"]}, CPU cores: {part["cores"]}, '
                f'threads: {part["threads"]}{precision}; Python {part["python"]}, '
                f'{", ".join(versions)}'
            )
            commits[machine].add(part.get('commit') or 'unknown')
        lines = [f'- {name}; commit {", ".join(sorted(commits[name]))}' for name in commits]
        return '\n'.join(lines)

    def steps(self, group: str, label: str) -> str:
        """Number of the optimizer's steps."""
        return _unique((run.parts[-1]['last_iteration'] for run in self._row(group, label)), ',')

    def _group(self, name: str) -> Rows:
        """Runs of a group by label, after a check that they compare."""
        if name not in self._groups:
            raise ValueError(f'no results of a group {name!r}; expected of {sorted(self._groups)}')
        rows = self._groups[name]
        for label, runs in rows.items():
            if len({run.recipe for run in runs if run.recipe}) > 1:
                raise ValueError(f'{name}, {label!r}: its seeds were trained by different settings')
        _check_set(name, sum(rows.values(), []))
        return rows

    def _row(self, group: str, label: str) -> list[RunResults]:
        rows = self._group(group)
        if label not in rows:
            raise ValueError(f'{group} has no run {label!r}; expected of {sorted(rows)}')
        return rows[label]


def class_iou(runs: Sequence[RunResults], decoding: str) -> dict[str, float]:
    """IoU of each class by name, mean over seeds."""
    scores = [run.score(decoding) for run in runs]
    names = [key.partition('.')[2] for key in scores[0] if key.startswith('IoU.')]
    return {name: mean(score[f'IoU.{name}'] for score in scores) for name in names}


def _check_set(where: str, runs: Sequence[RunResults]) -> None:
    found = {(e['split'], e['pairs']) for e in (run.evaluation('t40') for run in runs)}
    if len(found) > 1:
        sets = ', '.join(f'{pairs} pairs of {split}' for split, pairs in sorted(found))
        raise ValueError(f'{where}: its runs were evaluated on different sets: {sets}')


def _values(runs: Sequence[RunResults], decoding: str, metric: str) -> list[float]:
    return [run.score(decoding)[metric] for run in runs]


def _mean_iou(runs: Sequence[RunResults], decoding: str) -> float:
    return mean(_values(runs, decoding, 'mIoU'))


def _pairs_seen(runs: Sequence[RunResults]) -> str:
    return spread([run.pairs_seen for run in runs], ',.0f')


def _minutes(runs: Sequence[RunResults]) -> str:
    return spread([run.minutes for run in runs])


def _unique(values: Iterable[float], spec: str) -> str:
    return ' or '.join(dict.fromkeys(format(value, spec) for value in sorted(values)))
