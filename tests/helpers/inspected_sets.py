"""Sets of pairs to inspect, and what their findings say."""

from pathlib import Path

import cv2
import numpy as np

from helpers.pairs import ROOT, coloured, label_map, photo, write_pair

TOOL = ROOT / 'tools' / 'analysis_tools' / 'inspect_pairs.py'
SEEDS = {'train': (1, 2, 3, 4), 'val': (11, 12)}


def write_set(root: Path) -> Path:
    """Four train and two val pairs, 64 x 64, lossless, with no photo in common."""
    for split, seeds in SEEDS.items():
        for seed in seeds:
            write_pair(root / split / f'{seed}.png', seed=seed)
    return root


def join(left: np.ndarray, right: np.ndarray) -> bytes:
    """A picture file of two halves, BGR."""
    return cv2.imencode('.png', np.hstack([left, right]))[1].tobytes()


def codes(findings: dict) -> list[tuple[str, str, str]]:
    """Severity, code and split of each problem."""
    return [(p['severity'], p['code'], p['split']) for p in findings['problems']]


def message(findings: dict, code: str) -> str:
    """What is said about the only problem of that code."""
    (found,) = [p for p in findings['problems'] if p['code'] == code]
    return found['message']


def other_palette(root: Path, palette: list, *, suffix='.png', channels=1) -> Path:
    """A set of four pairs in other colours."""
    for seed in range(4):
        labels = label_map(64, 64, seed=seed, classes=len(palette))
        colors = coloured(labels, palette)[..., ::channels]
        content = cv2.imencode(suffix, np.hstack([photo(64, 64, seed=seed), colors]))[1]
        root.mkdir(exist_ok=True)
        (root / f'{seed}{suffix}').write_bytes(content.tobytes())
    return root
