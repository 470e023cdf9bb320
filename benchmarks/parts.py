"""The parts of ``benchmark.py``: each measures, prints a table and returns its rows."""

import argparse
import dataclasses

import torch

from benchmarks.heads import compare_heads
from benchmarks.keras import compare_with_keras
from benchmarks.loader import time_loader
from benchmarks.networks import compare_networks
from benchmarks.predicting import time_predicting
from benchmarks.timing import Machine, ratio
from pspnet_plugin.utils.tables import markdown_table

DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)


def heads(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measures and prints heads."""
    rows = [
        row
        for name in args.only
        for size in args.map
        for row in compare_heads(
            name, size, batch=args.batch, rounds=args.rounds, machine=machine,
            dtype=DTYPES[args.dtype], device=args.device, channels_last=args.channels_last,
        )
    ]  # fmt: skip
    print(
        markdown_table(
            ['head', 'map', 'what', 'stock, s', 'ours, s', 'times as fast', 'memory',
             'G multiply-adds, stock', 'ours', 'times the floor, stock', 'ours', 'difference'],
            [
                [
                    row['head'], row['map'], row['what'],
                    *(f'{row["seconds"][key]:.4f}' for key in ('stock', 'ours')),
                    str(row['speedup']),
                    f'{row["memory"]:.2f}',
                    *(f'{row["multiply_adds"][key] / 1e9:.2f}' for key in ('stock', 'ours')),
                    *(f'{row["above_floor"][key]:.2f}' for key in ('stock', 'ours')),
                    f'{row["difference"]:.1e}' if 'difference' in row else '',
                ]
                for row in rows
            ],
        )
    )  # fmt: skip
    return rows


def networks(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measures and prints whole networks."""
    rows = compare_networks(
        args.config, args.size, rounds=args.rounds, machine=machine, checkpoint=args.checkpoint,
        device=args.device, compiled=args.compile, exported=args.onnxruntime,
    )  # fmt: skip
    weights = args.checkpoint or 'random weights'
    print(f'{args.config}, {weights}, one picture of {args.size[0]}x{args.size[1]}\n')
    print(
        markdown_table(
            ['form', 's', 'times as fast', 'equal labels', 'G multiply-adds', 'times the floor'],
            [
                [
                    row['form'], f'{row["seconds"]:.3f}', str(row['speedup']),
                    f'{row["equal"]:.4%}',
                    f'{row["multiply_adds"] / 1e9:.1f}' if row['multiply_adds'] else '',
                    f'{row["above_floor"]:.2f}' if row['above_floor'] else '',
                ]
                for row in rows
            ],
        )
    )  # fmt: skip
    return rows


def keras(args: argparse.Namespace, machine: Machine) -> list[dict]:
    """Measures and prints the article's network."""
    rows = compare_with_keras(
        args.config, args.size, batch=args.batch, rounds=args.rounds, machine=machine,
        checkpoint=args.checkpoint, compiled=args.compile,
    )  # fmt: skip
    print(
        f'{args.config}, {args.checkpoint or "random weights"}, {args.size[0]}x{args.size[1]}; '
        f'one picture in inference, {args.batch} in training\n'
    )
    print(
        markdown_table(
            ['what', 'form', 's', 'times as fast', 'memory, MB', 'of that of Keras',
             'G multiply-adds', 'times the floor', 'difference', 'same nearest colour'],
            [
                [
                    row['what'], row['form'], f'{row["seconds"]:.3f}', str(row['speedup']),
                    f'{row["peak_bytes"] / 1e6:.0f}', f'{row["memory"]:.2f}',
                    f'{row["multiply_adds"] / 1e9:.1f}' if row['multiply_adds'] else '',
                    f'{row["above_floor"]:.2f}' if row['above_floor'] else '',
                    f'{row["difference"]:.1e}' if 'difference' in row else '',
                    f'{row["equal"]:.3%}' if 'equal' in row else '',
                ]
                for row in rows
            ],
        )
    )  # fmt: skip
    return rows


def loader(args: argparse.Namespace) -> list[dict]:
    """Measures and prints the loading of pairs."""
    times = time_loader(args.data_root, args.split, pairs=args.pairs, rounds=args.rounds)
    bare = times['imdecode']
    least = {name: float(values.min(0).mean()) for name, values in times.items()}
    rows = [
        dict(way=name, milliseconds=least[name], times_imdecode=least[name] / least['imdecode'],
             slowdown=ratio(values.mean(1).tolist(), bare.mean(1).tolist()))
        for name, values in times.items()
    ]  # fmt: skip
    print(
        markdown_table(
            ['way', 'ms a record', 'times imdecode', 'in the median round (lowest to highest)'],
            [
                [r['way'], f'{r["milliseconds"]:.3f}', f'{r["times_imdecode"]:.2f}',
                 str(r['slowdown'])]
                for r in rows
            ],
        )
    )  # fmt: skip
    return rows


def predict(args: argparse.Namespace) -> list[dict]:
    """Measures and prints the labelling of files."""
    found = time_predicting(
        args.config, args.checkpoint, args.inputs, kinds=args.save, batch=args.batch,
        rounds=args.rounds, device=args.device,
    )  # fmt: skip
    rows = [[str(found.pictures), f'{found.bare:.1f}', f'{found.whole:.1f}', str(found.speed)]]
    print(
        markdown_table(
            ['pictures', 'bare, a second', 'files to files, a second', 'whole over bare'], rows
        )
    )
    print('\nMiB of the process after so many percent of the pictures:', end=' ')
    print(', '.join(f'{100 * share:.0f}: {size / 2**20:.0f}' for share, size in found.memory))
    return [dataclasses.asdict(found)]


# By their names on the command line.
PARTS = dict(heads=heads, networks=networks, keras=keras, loader=loader, predict=predict)
