"""A report on one or more runs: one HTML file that needs nothing else, and its figures as PNGs."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from mmengine.config import Config

from pspnet_plugin.apis.fonts import PLAIN, font_of
from pspnet_plugin.toolkit.report.bootstrap import BOUNDS, ENOUGH, FEWEST, RESAMPLES, in_words
from pspnet_plugin.toolkit.report.evaluation import Examined, LabelledSet
from pspnet_plugin.toolkit.report.figures import (
    draw_classes,
    draw_confusion,
    draw_curves,
    percent,
)
from pspnet_plugin.toolkit.report.image_rows import Shown, draw_pictures
from pspnet_plugin.toolkit.report.work_dirs import RunFolder
from pspnet_plugin.utils.jobs import write_atomic

TEMPLATE = Path(__file__).parent / 'report.html.j2'
# Of a class, what it is taken for is named from this share of its pixels on.
NOTED = 0.05
WEAKEST = 3
DPI = 110
SEEN = dict(whole='each whole', slide='by a sliding window')


@dataclass(frozen=True)
class Weakness:
    """What is wrong with a class.

    Attributes:
        index: Its number.
        label: Its name.
        iou: In percent.
        range: How far this would vary with other pictures, in words; may be empty.
        pictures: The number of those in which it is labelled.
        share: Of the labelled pixels, in percent.
        recall: Percentage of its pixels that are predicted as it.
        precision: Percentage of what is predicted as it that is it; None where nothing is.
        taken_for: Other classes and the percentages of its pixels that are predicted as them.
        picture: The picture with most of its missed pixels, or None.
    """

    index: int
    label: str
    iou: float
    range: str
    pictures: int
    share: float
    recall: float
    precision: float | None
    taken_for: list[tuple[str, float]]
    picture: int | None


def weakest(examined: Examined, classes: Sequence[str]) -> list[Weakness]:
    """The classes of lowest IoU among those that are labelled anywhere, the worst first."""
    confusion, iou = examined.confusion, examined.iou
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    order = [i for i in np.argsort(iou, kind='stable') if labelled[i]][:WEAKEST]
    found = []
    for i in order:
        shares = confusion[i] / labelled[i]
        others = [j for j in np.argsort(-shares, kind='stable') if j != i and shares[j] >= NOTED]
        found.append(
            Weakness(
                index=int(i),
                label=classes[i],
                iou=float(iou[i]),
                range=in_words(examined.ranges.iou[i]),
                pictures=examined.pictures_with(i),
                share=100 * float(labelled[i] / labelled.sum()),
                recall=100 * float(shares[i]),
                precision=100 * float(confusion[i, i] / predicted[i]) if predicted[i] else None,
                taken_for=[(classes[j], 100 * float(shares[j])) for j in others[:3]],
                picture=examined.most_missed(i),
            )
        )
    return found


def facts(run: RunFolder) -> dict[str, str]:
    """Config, seed, time, hardware and versions of a run."""
    said = {
        'work dir': str(run.path),
        'config': run.config_name,
        'checkpoint': run.checkpoint.name if run.checkpoint else 'none yet',
    }
    if not run.parts:
        return {**said, 'other': "unknown: the config has no dict(type='RunRecordHook')"}
    last = run.parts[-1]
    said |= {
        'state': 'ended' if run.has_ended else 'running, or interrupted',
        'seed': str(last['seed']),
        'iterations': f'{run.iterations:,}',
        'batch size': str(last['batch_size'] * last['processes']),
        'training pairs': f'{last["train_pairs"]:,}',
        'time': f'{run.minutes:.1f} minutes in {len(run.parts)} '
        f'{"parts" if len(run.parts) > 1 else "part"}, validations included',
        'hardware': f'{last["gpu"] or last["processor"]}, {last["cores"]} CPU cores, '
        f'{last.get("precision") or "unknown precision"}',
        'versions': ', '.join(
            f'{name} {last[name]}' for name in ('python', 'torch', 'mmseg', 'mmengine', 'mmcv')
        ),
        'commit': last.get('commit') or 'none',
        'started': last['started'],
    }
    return said


def how_seen(pictures: LabelledSet, runs: Sequence[RunFolder]) -> str:
    """In which form the networks saw the pictures, in words."""
    modes = {(run.config.model.get('test_cfg') or {}).get('mode', 'whole') for run in runs}
    said = ' or '.join(words for mode, words in SEEN.items() if mode in modes)
    said += ', as its config says,' if len(modes) > 1 else ''
    if pictures.steps:
        return f'{said}, after {", ".join(pictures.steps)}'
    return f'{said} and at its own size, one scale, no flips'


def differing(configs: Sequence[Config]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all configs: their dotted keys, and each one's value."""
    flat = [_flat(config.to_dict()) for config in configs]
    keys = sorted({key for one in flat for key in one} - {'work_dir', 'filename'})
    rows = [(key, [one.get(key, '') for one in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def write_report(
    out: Path,
    *,
    names: Sequence[str],
    runs: Sequence[RunFolder],
    pictures: LabelledSet,
    examined: Mapping[str, Examined],
    chosen: Sequence[Shown],
    telling: Sequence[Shown],
) -> None:
    """Writes the HTML file and, into a folder of its name, the figures.

    Args:
        out: The HTML file.
        names: What the runs are called, each its own.
        runs: Of networks for one set of classes.
        pictures: The set that they were scored on.
        examined: Results on it, by name, of those that have weights.
        chosen: Pictures to show.
        telling: One for each of the weakest classes of the first of these.
    """
    folder = out.with_suffix('')
    folder.mkdir(parents=True, exist_ok=True)
    embedded = {}
    texts = [*pictures.classes, *names, *(row.caption for row in (*chosen, *telling))]
    families = dict.fromkeys([PLAIN, *(font_of(text)[0] for text in texts)])
    with matplotlib.rc_context({'font.family': list(families)}):
        for key, figure in _figures(names, runs, pictures, examined, chosen, telling).items():
            content = _png(figure)
            write_atomic(folder / f'{key}.png', content)
            embedded[key] = base64.b64encode(content).decode()
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(TEMPLATE.read_text()).render(
        title=', '.join(names),
        names=names,
        examined=examined,
        runs=dict(zip(names, runs, strict=True)),
        weakest={name: weakest(one, pictures.classes) for name, one in examined.items()},
        in_words=in_words,
        bounds=BOUNDS,
        fewest=FEWEST,
        enough=ENOUGH,
        resamples=RESAMPLES,
        percent=percent,
        decode=pictures.decode,
        count=len(pictures),
        seen=how_seen(pictures, runs),
        figures=embedded,
        facts=[facts(run) for run in runs],
        differing=differing([run.config for run in runs]) if len(runs) > 1 else [],
        going=[n for n, run in zip(names, runs, strict=True) if run.has_ended is False],
    )
    write_atomic(out, page.encode())


def _figures(
    names: Sequence[str],
    runs: Sequence[RunFolder],
    pictures: LabelledSet,
    examined: Mapping[str, Examined],
    chosen: Sequence[Shown],
    telling: Sequence[Shown],
) -> dict[str, Figure]:
    """Of what ``write_report`` is given."""
    classes, palette, scored = pictures.classes, pictures.palette, list(examined)
    figures = {'curves': draw_curves(names, runs)}
    if examined:
        figures['classes'] = draw_classes(examined, classes)
        for number, (name, one) in enumerate(examined.items()):
            key = f'confusion-{number + 1}' if number else 'confusion'
            figures[key] = draw_confusion(name, one, classes)
        figures['pictures'] = draw_pictures(scored, chosen, classes, palette)
        if telling:
            figures['weakest'] = draw_pictures(scored, telling, classes, palette)
    return figures


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, dpi=DPI, format='png')
    return file.getvalue()


def _flat(value: object, prefix: str = '') -> dict[str, str]:
    if isinstance(value, dict):
        nested = ((f'{prefix}.{key}' if prefix else str(key), v) for key, v in value.items())
    elif isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value):
        nested = ((f'{prefix}.{i}', v) for i, v in enumerate(value))
    else:
        return {prefix: repr(value)}
    return {key: text for path, v in nested for key, text in _flat(v, path).items()}
