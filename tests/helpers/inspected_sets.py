"""Sets of pairs to inspect, and parts of their findings."""

from pathlib import Path

import cv2
import numpy as np

from helpers.pairs import ROOT, coloured, label_map, photo, write_pair

TOOL = ROOT / 'tools' / 'analysis_tools' / 'inspect_pairs.py'
SEEDS = {'train': (1, 2, 3, 4), 'val': (11, 12)}


def write_set(root: Path) -> Path:
    """Write four train and two val pairs, 64 x 64, lossless, with no photo in common."""
    for split, seeds in SEEDS.items():
        for seed in seeds:
            write_pair(root / split / f'{seed}.png', seed=seed)
    return root


def join(left: np.ndarray, right: np.ndarray) -> bytes:
    """Encode two halves, BGR, as an image file."""
    return cv2.imencode('.png', np.hstack([left, right]))[1].tobytes()


def codes(findings: dict) -> list[tuple[str, str, str]]:
    """Return severity, code and split of each finding."""
    return [(p['severity'], p['code'], p['split']) for p in findings['problems']]


def finding(findings: dict, code: str) -> tuple[str, list[str]]:
    """Return message and files of the only finding of that code."""
    (found,) = [p for p in findings['problems'] if p['code'] == code]
    return found['message'], found['files']


def other_palette(root: Path, palette: list, *, suffix='.png', channels=1) -> Path:
    """Write a set of four pairs in other colours."""
    for seed in range(4):
        labels = label_map(64, 64, seed=seed, classes=len(palette))
        colors = coloured(labels, palette)[..., ::channels]
        content = cv2.imencode(suffix, np.hstack([photo(64, 64, seed=seed), colors]))[1]
        root.mkdir(exist_ok=True)
        (root / f'{seed}{suffix}').write_bytes(content.tobytes())
    return root
