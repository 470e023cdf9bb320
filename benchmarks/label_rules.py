"""Measure label decoding on label images that are rendered from exact label maps.

Generated scenes of four kinds are shrunk by three filters and JPEG-coded (4:2:0) at two qualities,
as the label halves of real pairs were. The truth of a pixel is the class with the largest share of
its area. Prints Markdown tables, which docs/labels.md shows.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.label_plans import SCENES, LabelScene
from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.labels.palettes import IGNORE_INDEX
from pspnet_plugin.toolkit.conversion.pair_making import jpeg_options
from pspnet_plugin.utils.command_line import add_debug, run_command
from pspnet_plugin.utils.resizing import largest_share

Figures = dict[str, float]
Filter = Image.Resampling
SHRINKS = dict(bicubic=Filter.BICUBIC, bilinear=Filter.BILINEAR, area=Filter.BOX)
QUALITIES = (95, 75)
SIZE = 256
DISTANCES = (None, 60, 40, 30, 25, 20, 15, 10, 5)
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
RULES: dict[str, dict[str, Any]] = {
    **{f'nearest, {d or "any"}': dict(rule='nearest', max_distance=d) for d in DISTANCES},
    **{f'edge_aware, {c}': dict(rule='edge_aware', min_confidence=c) for c in CONFIDENCES},
}
# Other scenes than those on which the constants of the edge-aware rule were chosen.
SEED = 5077
EXAMPLE = """example:
  python -m benchmarks.label_rules --scenes 12
"""


class PixelCounts:
    """Pixel counts of a rule, from which its figures follow."""

    def __init__(self) -> None:
        self.labelled = self.kept = self.right = self.phantom = self.pixels = 0
        self.thin_both = self.thin_either = 0

    def add(self, labels: np.ndarray, truth: np.ndarray, thin: tuple[int, ...]) -> None:
        """Count an image: decoded labels and exact ones, (H, W) each with 255 ignored."""
        labelled, kept = truth != IGNORE_INDEX, labels != IGNORE_INDEX
        self.pixels += truth.size
        self.labelled += np.count_nonzero(labelled)
        self.kept += np.count_nonzero(labelled & kept)
        self.right += np.count_nonzero(labelled & (labels == truth))
        self.phantom += np.count_nonzero(~np.isin(labels, [*np.unique(truth), IGNORE_INDEX]))
        for label in thin:
            a, b = (labels == label) & labelled, truth == label
            self.thin_both += np.count_nonzero(a & b)
            self.thin_either += np.count_nonzero(a | b)

    def figures(self) -> Figures:
        """Return coverage, accuracy of the kept pixels, share of phantoms, IoU of thin classes."""
        return dict(
            coverage=self.kept / self.labelled,
            accuracy=self.right / max(self.kept, 1),
            phantom=self.phantom / self.pixels,
            thin_iou=self.thin_both / max(self.thin_either, 1),
        )


def render(scene: LabelScene, *, resample: Filter, quality: int) -> np.ndarray:
    """Render a scene as a shrunk, JPEG-coded label image, (256, 256, 3) uint8 BGR."""
    colors = scene.palette[scene.labels]
    image = np.asarray(Image.fromarray(colors).resize((SIZE, SIZE), resample))
    content = cv2.imencode('.jpg', image[..., ::-1], jpeg_options(quality))[1]
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was just encoded
    return decoded


def measure(scenes: int, kinds: list[str]) -> dict[tuple[int, str, str], Figures]:
    """Measure every rule on so many scenes of each kind, by quality, kind (or 'all') and rule."""
    counts = {group: PixelCounts() for group in product(QUALITIES, (*kinds, 'all'), RULES)}
    for kind, number in tqdm(list(product(kinds, range(scenes))), unit='scene'):
        scene = SCENES[kind](np.random.default_rng([SEED, number]))
        palette, void = (
            scene.palette[: scene.classes].tolist(),
            scene.palette[scene.classes :].tolist(),
        )
        decoders = {
            rule: LabelDecoder(palette, void_palette=void, min_explained=0, **arguments)
            for rule, arguments in RULES.items()
        }
        truth = largest_share(scene.labels, (SIZE, SIZE))
        truth[truth >= scene.classes] = IGNORE_INDEX
        for quality, resample in product(QUALITIES, SHRINKS.values()):
            image = render(scene, resample=resample, quality=quality)
            for rule, decoder in decoders.items():
                labels = decoder.decode(image)
                for group in (kind, 'all'):
                    counts[quality, group, rule].add(labels, truth, scene.thin)
    return {group: one.figures() for group, one in counts.items()}


def better(ours: Figures, other: Figures) -> bool:
    """Return True if a rule is better in coverage, accuracy and phantoms at once."""
    return (
        ours['coverage'] > other['coverage']
        and ours['accuracy'] > other['accuracy']
        and ours['phantom'] < other['phantom']
    )


def report(figures: dict[tuple[int, str, str], Figures], kinds: list[str]) -> str:
    """Write a Markdown table of all kinds for each quality, then one of the single kinds."""
    lines = []
    for quality in QUALITIES:
        rows = {rule: figures[quality, 'all', rule] for rule in RULES}
        lines += [
            f'JPEG quality {quality}, all kinds and filters:', '',
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
        'Single kinds:', '',
        '| kind, quality | rule | coverage | accuracy | phantom | thin IoU |',
        '|---|---|---|---|---|---|',
    ]  # fmt: skip
    shown = ('nearest, any', 'nearest, 40', 'nearest, 20', 'edge_aware, 0.8')
    for kind, quality, rule in product(kinds, QUALITIES, shown):
        lines.append(f'| {kind}, {quality} | {rule} | {_cells(figures[quality, kind, rule])} |')
    return '\n'.join(lines)


def _cells(row: Figures) -> str:
    shares = f'{row["coverage"]:.4f} | {row["accuracy"]:.4f} | {row["phantom"]:.5f}'
    return f'{shares} | {row["thin_iou"]:.3f}'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--scenes', type=int, default=12, help='scenes of each kind (12)')
    parser.add_argument('--kinds', nargs='+', choices=SCENES, default=list(SCENES))
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures to FILE')
    add_debug(parser)
    args = parser.parse_args(argv)
    if args.scenes < 1:
        parser.error(f'--scenes {args.scenes}: give 1 or more')
    return args


def compare(args: argparse.Namespace) -> None:
    """Measure, print the tables and write the figures."""
    if args.json and not args.json.parent.is_dir():
        raise ValueError(f'--json {args.json}: its directory does not exist; create it first')
    figures = measure(args.scenes, args.kinds)
    print(report(figures, args.kinds))
    if args.json:
        listed = [
            dict(quality=quality, kind=kind, rule=rule, **row)
            for (quality, kind, rule), row in figures.items()
        ]
        args.json.write_text(json.dumps(listed, indent=1))


def main(argv: list[str] | None = None) -> int:
    """Run the command; see ``run_command`` for its exit status."""
    return run_command('label_rules', compare, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
