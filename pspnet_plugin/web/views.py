"""What the page shows of a labelled photo, as HTML that needs no other file.

The colours lie over the photo in an element of their own, whose opacity is the CSS variable
``--opacity``: a slider moves it without asking the server.
"""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from pspnet_plugin.prediction.drawing import colored

CSS = """
.seen { margin: 0 0 1rem; }
.seen figcaption { margin-bottom: .4rem; overflow-wrap: anywhere; }
.seen .stack { position: relative; line-height: 0; }
.seen .stack img { width: 100%; height: auto; }
.seen .stack img.classes { position: absolute; inset: 0; opacity: var(--opacity, .5);
  image-rendering: pixelated; }
.seen ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem;
  padding: 0; margin: .6rem 0; }
.seen ul.legend li { margin: 0; }
.seen ul.legend i { display: inline-block; width: 1em; height: 1em; margin-right: .4em;
  vertical-align: -.12em; border: 1px solid #0006; }
.problem { border-left: 4px solid #d62728; background: #d6272818; padding: .6rem .9rem; }
"""


def view(
    title: str,
    photo: np.ndarray,
    labels: np.ndarray,
    palette: np.ndarray,
    classes: Sequence[str],
    *,
    note: str = '',
) -> str:
    """Photo and classes, the legend with shares, and the index map to download.

    Args:
        title: Of the network.
        photo: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8.
        palette: (K, 3) uint8, RGB.
        classes: Their names.
        note: Said beside the title.
    """
    photo_file = _data('jpeg', cv2.imencode('.jpg', photo, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
    colors = _data('png', cv2.imencode('.png', colored(labels, palette))[1])
    index = _data('png', cv2.imencode('.png', labels)[1])
    shares = np.bincount(labels.ravel(), minlength=256)[: len(classes)] / labels.size
    entries = ''.join(
        f'<li><i style="background:{_hex(palette[i])}"></i>{escape(classes[i])} '
        f'<b>{100 * shares[i]:.1f} %</b></li>'
        for i in np.argsort(-shares, kind='stable')
        if shares[i] > 0
    )
    return (
        f'<figure class="seen"><figcaption><b>{escape(title)}</b> {escape(note)}</figcaption>'
        f'<div class="stack"><img class="photo" src="{photo_file}" alt="the photo">'
        f'<img class="classes" src="{colors}" alt="the classes in their colours"></div>'
        f'<ul class="legend">{entries}</ul>'
        f'<a class="index" download="index.png" href="{index}">Download the index map</a> '
        '(PNG, its grey values are class numbers from 0)</figure>'
    )


def problem(text: str) -> str:
    """A message in place of a view."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def _data(kind: str, content: np.ndarray) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content.tobytes()).decode()}'


def _hex(color: np.ndarray) -> str:
    return '#' + bytes(color.tolist()).hex()
