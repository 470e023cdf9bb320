"""Sets of pairs to inspect, and parts of their findings."""

from pathlib import Path

import cv2
import numpy as np

from helpers.pairs import label_map, write_pair


def write_halves(path: Path, left: np.ndarray, right: np.ndarray) -> None:
    """Write two halves, BGR, as one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.hstack([left, right]))


def codes(findings: dict) -> list[tuple[str, str, str]]:
    """Return severity, code and split of each finding."""
    return [(p['severity'], p['code'], p['split']) for p in findings['problems']]


def finding(findings: dict, code: str) -> tuple[str, list[str]]:
    """Return message and files of the only finding of that code."""
    (found,) = [p for p in findings['problems'] if p['code'] == code]
    return found['message'], found['files']


def other_palette(root: Path, palette: list, *, suffix='.png') -> Path:
    """Write a set of four pairs in other colours."""
    for seed in range(4):
        labels = label_map(64, 64, seed=seed, classes=len(palette))
        write_pair(root / f'{seed}{suffix}', seed=seed, labels=labels, palette=palette)
    return root
