"""Measure the rules that read label pictures, against the exact maps these were rendered from.

Generated scenes of four kinds are shrunk in three ways and JPEG-coded (4:2:0) at two qualities, as
the label halves of real pairs were. The truth of a pixel is the class with the largest share of its
area. Prints Markdown; docs/labels.md holds what it printed.
"""

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.toolkit.conversion.pair_making import jpeg_options
from pspnet_plugin.toolkit.synthetic.label_plans import SCENES, LabelScene
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.resizing import largest_share

SHRINKS = dict(bicubic=Image.BICUBIC, bilinear=Image.BILINEAR, area=Image.BOX)
QUALITIES = (95, 75)
SIZE = 256
DISTANCES = (None, 60, 40, 30, 25, 20, 15, 10, 5)
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
RULES = {
    **{f'nearest, {d or "any"}': dict(rule='nearest', max_distance=d) for d in DISTANCES},
    **{f'edge_aware, {c}': dict(rule='edge_aware', min_confidence=c) for c in CONFIDENCES},
}
# Far from the seeds that the rule's constants were chosen on.
SEED = 5077
EXAMPLE = """example:
  python tools/analysis_tools/compare_label_rules.py --scenes 12
"""


class Tally:
    """Counts over pixels, from which the four figures of a rule follow."""

    def __init__(self) -> None:
        self.labelled = self.kept = self.right = self.phantom = self.pixels = 0
        self.thin_both = self.thin_either = 0

    def add(self, found: np.ndarray, truth: np.ndarray, thin: tuple[int, ...]) -> None:
        """Counts a picture: (H, W) labels that a rule gave, and the exact ones; 255 is ignored."""
        labelled, kept = truth != 255, found != 255
        self.pixels += truth.size
        self.labelled += np.count_nonzero(labelled)
        self.kept += np.count_nonzero(labelled & kept)
        self.right += np.count_nonzero(labelled & (found == truth))
        self.phantom += np.count_nonzero(~np.isin(found, [*np.unique(truth), 255]))
        for label in thin:
            a, b = (found == label) & labelled, truth == label
            self.thin_both += np.count_nonzero(a & b)
            self.thin_either += np.count_nonzero(a | b)

    def figures(self) -> dict[str, float]:
        """Coverage, accuracy of what is kept, share of phantoms, IoU of thin classes."""
        return dict(
            coverage=self.kept / self.labelled,
            accuracy=self.right / max(self.kept, 1),
            phantom=self.phantom / self.pixels,
            thin_iou=self.thin_both / max(self.thin_either, 1),
        )


def render(scene: LabelScene, *, resample: int, quality: int) -> np.ndarray:
    """The label picture of a scene, (256, 256, 3) uint8 BGR, as it comes out of the JPEG."""
    picture = Image.fromarray(scene.palette[scene.labels]).resize((SIZE, SIZE), resample)
    content = cv2.imencode('.jpg', np.asarray(picture)[..., ::-1], jpeg_options(quality))[1]
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def measure(scenes: int, kinds: list[str]) -> dict[tuple[int, str, str], dict[str, float]]:
    """The figures by quality, kind (and ``'all'``) and rule.

    Args:
        scenes: Number of scenes of each kind.
        kinds: Names in ``SCENES``.
    """
    tallies = {
        (quality, kind, rule): Tally()
        for quality in QUALITIES
        for kind in (*kinds, 'all')
        for rule in RULES
    }
    jobs = [(kind, number) for kind in kinds for number in range(scenes)]
    for kind, number in tqdm(jobs, unit='scene'):
        scene = SCENES[kind](np.random.default_rng([SEED, number]))
        palette, void = scene.palette[: scene.classes], scene.palette[scene.classes :]
        decoders = {
            rule: LabelDecoder(palette, void_palette=void, min_explained=0, **arguments)
            for rule, arguments in RULES.items()
        }
        truth = largest_share(scene.labels, (SIZE, SIZE))
        truth[truth >= scene.classes] = 255
        for quality in QUALITIES:
            for resample in SHRINKS.values():
                picture = render(scene, resample=resample, quality=quality)
                for rule, decoder in decoders.items():
                    found = decoder.decode(picture)
                    for group in (kind, 'all'):
                        tallies[quality, group, rule].add(found, truth, scene.thin)
    return {key: tally.figures() for key, tally in tallies.items()}


def better(ours: dict[str, float], other: dict[str, float]) -> bool:
    """Whether a rule is at once better in coverage, accuracy and phantoms."""
    return (
        ours['coverage'] > other['coverage']
        and ours['accuracy'] > other['accuracy']
        and ours['phantom'] < other['phantom']
    )


def report(figures: dict[tuple[int, str, str], dict[str, float]], kinds: list[str]) -> str:
    """Markdown: a table for each quality, over all kinds; then one of the kinds by themselves."""
    lines = []
    for quality in QUALITIES:
        rows = {rule: figures[quality, 'all', rule] for rule in RULES}
        lines += [
            f'JPEG quality {quality}, all kinds and ways of shrinking:', '',
            '| rule | coverage | accuracy | phantom | thin IoU | beaten by min_confidence |',
            '|---|---|---|---|---|---|',
        ]  # fmt: skip
        for rule, row in rows.items():
            beaten = ''
            if rule.startswith('nearest'):
                at = [c for c in CONFIDENCES if better(rows[f'edge_aware, {c}'], row)]
                beaten = f'{at[0]} to {at[-1]}' if at else 'none'
            lines.append(f'| {rule} | {_cells(row)} | {beaten} |')
        lines.append('')
    lines += [
        'Each kind by itself:', '',
        '| kind, quality | rule | coverage | accuracy | phantom | thin IoU |',
        '|---|---|---|---|---|---|',
    ]  # fmt: skip
    for kind in kinds:
        for quality in QUALITIES:
            for rule in ('nearest, any', 'nearest, 40', 'nearest, 20', 'edge_aware, 0.8'):
                lines.append(
                    f'| {kind}, {quality} | {rule} | {_cells(figures[quality, kind, rule])} |'
                )
    return '\n'.join(lines)


def _cells(row: dict[str, float]) -> str:
    return (
        f'{row["coverage"]:.4f} | {row["accuracy"]:.4f} | {row["phantom"]:.5f} | '
        f'{row["thin_iou"]:.3f}'
    )


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--scenes', type=int, default=12, help='of each kind (12)')
    parser.add_argument('--kinds', nargs='+', choices=SCENES, default=list(SCENES))
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write all figures')
    add_debug(parser)
    args = parser.parse_args(argv)
    if args.scenes < 1:
        parser.error(f'--scenes {args.scenes}: give 1 or more')
    return args


def compare(args: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        ValueError: the figures could not be written.
    """
    if args.json and not args.json.parent.is_dir():
        raise ValueError(f'--json {args.json}: there is no such folder')
    figures = measure(args.scenes, args.kinds)
    print(report(figures, args.kinds))
    if args.json:
        listed = [
            dict(quality=quality, kind=kind, rule=rule, **row)
            for (quality, kind, rule), row in figures.items()
        ]
        args.json.write_text(json.dumps(listed, indent=1))


def main(argv: list[str] | None = None) -> int:
    """Runs the command; see ``run_command`` for its exit status."""
    return run_command('compare_label_rules', compare, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
