"""Draw a run on one page: held-out pairs as photo | truth | prediction, loss and mIoU.

    python tools/analysis_tools/report.py work_dirs/psp_demo
    python tools/analysis_tools/report.py work_dirs/psp_demo --pairs 12 --worst --out worst.png

Reads what the run left in its folder (config, checkpoint, scalars) and writes ``report.png`` there.
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from pspnet_plugin.datasets.pairs import natural_key
from pspnet_plugin.prediction.outputs import areas
from pspnet_plugin.reporting import read_scalars

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

COLUMNS = 2


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='folder of a finished or running training')
    parser.add_argument('--checkpoint', help='default: the last one of the run')
    parser.add_argument('--out', type=Path, help='picture to write; default: WORK_DIR/report.png')
    parser.add_argument('--pairs', type=int, default=6, help='held-out pairs to show (default 6)')
    parser.add_argument(
        '--worst', action='store_true', help='those of lowest mIoU, not some spread over the set'
    )
    parser.add_argument('--dpi', type=int, default=100, help='100 gives 1500 pixels of width')
    return parser.parse_args(arguments)


def find_run(work_dir: Path, checkpoint: str | None) -> tuple[Path, str]:
    """Config and checkpoint of a run, the last one if none is named.

    Raises:
        FileNotFoundError: the folder is missing or lacks one of them.
    """
    configs = sorted(work_dir.glob('*.py'))
    if not configs:
        raise FileNotFoundError(f'{work_dir}: no config of a run; expected a work dir of train.py')
    if checkpoint:
        return configs[0], checkpoint
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        raise FileNotFoundError(f'{work_dir}: no checkpoint yet; name one by --checkpoint')
    # Only the name: the folder may have been moved since it was written.
    return configs[0], str(work_dir / Path(pointer.read_text().strip()).name)


def colour(labels: np.ndarray, palette: list) -> np.ndarray:
    """An (H, W, 3) RGB picture of (H, W) class indices; 255 becomes black."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    return colors[labels]


def predict(
    config: Config, checkpoint: str, count: int, *, worst: bool
) -> tuple[list[dict], BaseDataset]:
    """Photo, truth and prediction of pairs of the validation set: the worst, or some of all."""
    device = 'cuda:0' if torch.cuda.is_available() else 'cpu'
    # A test with augmentation leaves a config whose network is wrapped.
    config.model = config.model.get('module', config.model)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    model = init_model(config, checkpoint, device=device)
    load_photo, load_truth = LoadImageFromFile(), LoadAnnotations()
    rows = []
    shown = len(dataset) if worst else min(count, len(dataset))
    for index in np.linspace(0, len(dataset) - 1, shown).astype(int):
        record = load_truth(load_photo(dataset.get_data_info(int(index))))
        prediction = inference_model(model, record['img_path']).pred_sem_seg.data
        rows.append(
            dict(
                name=Path(record['img_path']).name,
                photo=record['img'][..., ::-1],
                truth=record['gt_seg_map'],
                prediction=prediction.squeeze().cpu().numpy().astype(np.uint8),
            )
        )
    if worst:
        rows.sort(key=mean_iou)
        for row in rows:
            row['name'] += f', mIoU {100 * mean_iou(row):.0f}'
    return rows[:count], dataset


def mean_iou(row: dict) -> float:
    """Over the classes that are in the truth of a picture."""
    inter, union, _, labelled = np.array(areas(row['prediction'], row['truth'], 255))
    there = labelled > 0
    return float((inter[there] / union[there]).mean()) if there.any() else 1.0


def plot_curve(axes: Axes, work_dir: Path, key: str, label: str) -> None:
    """One logged scalar over the iterations, its last value in the title."""
    steps, values = read_scalars(work_dir, key)
    if not steps:
        axes.set_title(f'{label}: nothing logged')
        return
    axes.plot(steps, values, marker='.' if len(steps) < 30 else None)
    axes.set_title(f'{label}: {values[-1]:.4g} at iteration {steps[-1]}')
    axes.set_xlabel('iteration')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def draw(rows: list[dict], metainfo: dict, work_dir: Path, out: Path, *, dpi: int) -> None:
    """Lay out pairs, legend and curves, and write the picture."""
    height = -(-len(rows) // COLUMNS)
    figure = plt.figure(figsize=(15, 2.65 * height + 4), layout='constrained')
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    grid = GridSpec(height + 2, 3 * COLUMNS, figure, height_ratios=[*[2.6] * height, 0.9, 2.8])
    half = 3 * COLUMNS // 2
    for i, row in enumerate(rows):
        parts = (
            ('photo ' + row['name'], row['photo']),
            ('truth', colour(row['truth'], metainfo['palette'])),
            ('prediction', colour(row['prediction'], metainfo['palette'])),
        )
        for j, (title, picture) in enumerate(parts):
            axes = figure.add_subplot(grid[i // COLUMNS, 3 * (i % COLUMNS) + j])
            axes.imshow(picture)
            axes.set_title(title, fontsize=9)
            axes.axis('off')
    axes = figure.add_subplot(grid[height, :])
    axes.axis('off')
    entries = [*zip(metainfo['classes'], metainfo['palette'], strict=True), ('ignored', (0, 0, 0))]
    axes.legend(
        handles=[Patch(color=np.array(c) / 255, label=name) for name, c in entries],
        loc='center',
        ncols=10,
        frameon=False,
    )
    plot_curve(figure.add_subplot(grid[height + 1, :half]), work_dir, 'loss', 'training loss')
    plot_curve(figure.add_subplot(grid[height + 1, half:]), work_dir, 'mIoU', 'held-out mIoU (%)')
    figure.savefig(out, dpi=dpi)


def main(arguments: list[str] | None = None) -> int:
    """Read the run, predict, draw."""
    args = parse_args(arguments)
    try:
        if args.pairs < 1 or args.dpi < 1:
            raise ValueError(f'--pairs {args.pairs} --dpi {args.dpi}: give numbers from 1 up')
        if not args.work_dir.is_dir():
            raise FileNotFoundError(f'{args.work_dir}: no such folder; give a work dir of train.py')
        config_file, checkpoint = find_run(args.work_dir, args.checkpoint)
        config = Config.fromfile(config_file)
        init_default_scope(config.get('default_scope', 'mmseg'))
        rows, dataset = predict(config, checkpoint, args.pairs, worst=args.worst)
    except (FileNotFoundError, ValueError) as error:
        print(f'report.py: {error}', file=sys.stderr)
        return 2
    if not args.worst:
        rows.sort(key=lambda row: natural_key(row['name']))
    out = args.out or args.work_dir / 'report.png'
    draw(rows, dataset.metainfo, args.work_dir, out, dpi=args.dpi)
    print(f'report: {out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
