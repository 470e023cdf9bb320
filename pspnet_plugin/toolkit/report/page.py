"""Report on one or more runs: a self-contained HTML file, and its figures as PNGs beside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from mmengine.config import Config

from pspnet_plugin.apis.drawing import DEFAULT_FONT, find_font, percent
from pspnet_plugin.toolkit.report import bootstrap
from pspnet_plugin.toolkit.report.evaluation import Evaluation, ValidationSet
from pspnet_plugin.toolkit.report.figures import draw_classes, draw_confusion, draw_curves
from pspnet_plugin.toolkit.report.image_rows import ImageRow, draw_image_rows
from pspnet_plugin.toolkit.report.runs import TrainingRun
from pspnet_plugin.utils.files import write_atomic
from pspnet_plugin.utils.templates import render

TEMPLATE = Path(__file__).parent / 'report.html.j2'
WEAKEST = 3
CONFUSED = 5  # least percentage of a class's pixels for which a false class is named


@dataclass(frozen=True)
class WeakClass:
    """Class of low IoU, with its errors; percentages unless noted."""

    index: int
    label: str
    iou: float
    range: str  # bootstrap range of the IoU as text, maybe ''
    images: int  # number of images that hold the class
    share: float  # of the labelled pixels
    recall: float
    precision: float | None  # None: the class is never predicted
    confused_with: list[tuple[str, float]]  # false classes with their share of its pixels
    worst_image: int | None  # index of the image with most of its missed pixels


def weakest_classes(evaluation: Evaluation, classes: Sequence[str]) -> list[WeakClass]:
    """Find the classes of lowest IoU among the labelled ones, the worst first."""
    confusion = evaluation.confusion
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    order = [int(i) for i in np.argsort(evaluation.scores['IoU'], kind='stable') if labelled[i]]

    def describe(i: int) -> WeakClass:
        shares = 100 * confusion[i] / labelled[i]
        others = [j for j in np.argsort(-shares, kind='stable') if j != i and shares[j] >= CONFUSED]
        return WeakClass(
            index=i, label=classes[i], iou=float(evaluation.scores['IoU'][i]),
            range=bootstrap.format_range(evaluation.ranges['IoU'][i]),
            images=int((evaluation.areas[:, 3, i] > 0).sum()),
            share=100 * float(labelled[i] / labelled.sum()), recall=float(shares[i]),
            precision=100 * float(confusion[i, i] / predicted[i]) if predicted[i] else None,
            confused_with=[(classes[j], float(shares[j])) for j in others[:3]],
            worst_image=evaluation.most_missed(i),
        )  # fmt: skip

    return [describe(i) for i in order[:WEAKEST]]


def run_details(run: TrainingRun) -> dict[str, str]:
    """List config, seed, time, hardware and versions of a run."""
    details = {
        'work dir': str(run.path),
        'config': run.config_name,
        'checkpoint': run.checkpoint.name if run.checkpoint else 'none yet',
    }
    if not run.parts:
        return {**details, 'other': "unknown: the config has no dict(type='RunRecordHook')"}
    last, parts = run.parts[-1], len(run.parts)
    packages = ('python', 'torch', 'mmseg', 'mmengine', 'mmcv')
    return details | {
        'state': 'ended' if run.has_ended else 'running, or interrupted',
        'seed': str(last['seed']),
        'iterations': f'{run.iterations:,}',
        'batch size': str(last['batch_size'] * last['processes']),
        'training pairs': f'{last["train_pairs"]:,}',
        'time': f'{run.minutes:.1f} minutes in {parts} {"parts" if parts > 1 else "part"}, '
        'validations included',
        'hardware': f'{last["gpu"] or last["processor"]}, {last["cores"]} CPU cores, '
        f'{last.get("precision") or "unknown precision"}',
        'versions': ', '.join(f'{name} {last[name]}' for name in packages),
        'commit': last.get('commit') or 'none',
        'started': last['started'],
    }


def describe_input(images: ValidationSet, runs: Sequence[TrainingRun]) -> str:
    """Describe how the images are presented to the networks."""
    modes = {(run.config.model.get('test_cfg') or {}).get('mode', 'whole') for run in runs}
    words = dict(whole='each whole', slide='by a sliding window')
    text = ' or '.join(words[mode] for mode in words if mode in modes)
    text += ', as its config says,' if len(modes) > 1 else ''
    if images.transforms:
        return f'{text}, after {", ".join(images.transforms)}'
    return f'{text}, at its own size, single-scale and without flips'


def differing_settings(configs: Sequence[Config]) -> list[tuple[str, list[str]]]:
    """List the settings that are not equal in all configs: dotted key, and the value in each."""
    flat = [_flatten(config.to_dict()) for config in configs]
    keys = sorted(set[str]().union(*flat) - {'work_dir', 'filename'})
    rows = [(key, [settings.get(key, '') for settings in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flatten(value: object, prefix: str = '') -> dict[str, str]:
    if isinstance(value, dict):
        nested = {f'{prefix}.{key}' if prefix else str(key): v for key, v in value.items()}
    elif isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value):
        nested = {f'{prefix}.{i}': v for i, v in enumerate(value)}
    else:
        return {prefix: repr(value)}
    return {key: text for path, v in nested.items() for key, text in _flatten(v, path).items()}


def write_report(
    out: Path,
    *,
    runs: Mapping[str, TrainingRun],
    images: ValidationSet,
    evaluations: Mapping[str, Evaluation],
    examples: Sequence[ImageRow],
    weak_examples: Sequence[ImageRow],
) -> None:
    """Write the HTML file and, into a folder of its name, the figures.

    ``evaluations`` are those of the runs that have weights; ``weak_examples`` belong to the weakest
    classes of the first.
    """
    folder = out.with_suffix('')
    folder.mkdir(parents=True, exist_ok=True)
    texts = [*images.classes, *runs, *(row.caption for row in (*examples, *weak_examples))]
    families = dict.fromkeys([DEFAULT_FONT, *(find_font(text)[0] for text in texts)])
    embedded = {}
    with matplotlib.rc_context({'font.family': list(families)}):
        figures = {'curves': draw_curves(runs)}
        if evaluations:
            figures['classes'] = draw_classes(evaluations, images.classes)
        for number, (name, evaluation) in enumerate(evaluations.items(), 1):
            key = 'confusion' if number == 1 else f'confusion-{number}'
            figures[key] = draw_confusion(name, evaluation.confusion, images.classes)
        for key, rows in (('pictures', examples), ('weakest', weak_examples)):
            if rows:
                names = list(evaluations)
                figures[key] = draw_image_rows(names, rows, images.classes, images.palette)
        for key, figure in figures.items():
            file = io.BytesIO()
            figure.savefig(file, dpi=110, format='png')
            write_atomic(folder / f'{key}.png', file.getvalue())
            embedded[key] = base64.b64encode(file.getvalue()).decode()
    page = render(
        TEMPLATE, runs=runs, images=images, evaluations=evaluations, figures=embedded,
        bootstrap=bootstrap, percent=percent,
        weakest={n: weakest_classes(e, images.classes) for n, e in evaluations.items()},
        details={name: run_details(run) for name, run in runs.items()},
        differing=differing_settings([run.config for run in runs.values()]),
        input=describe_input(images, list(runs.values())),
    )  # fmt: skip
    write_atomic(out, page.encode())
