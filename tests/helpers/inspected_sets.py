"""Sets of pairs to inspect, and parts of their findings."""

from pathlib import Path

import cv2
import numpy as np

from helpers.pairs import label_map, write_pair


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


def other_palette(root: Path, palette: list, *, suffix='.png') -> Path:
    """Write a set of four pairs in other colours."""
    for seed in range(4):
        labels = label_map(64, 64, seed=seed, classes=len(palette))
        write_pair(root / f'{seed}{suffix}', seed=seed, labels=labels, palette=palette)
    return root
