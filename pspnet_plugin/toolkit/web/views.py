"""What the page shows of a labelled photo, as HTML that needs no other file.

The colours lie over the photo in an element of their own, whose opacity is the CSS variable
``--opacity``: a slider moves it without asking the server.
"""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from pspnet_plugin.apis.drawing import colored, overlay, percent

# Of the colours in the overlay that is downloaded; the slider only moves what is seen.
OVERLAY_OPACITY = 0.5
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
CSS = """
.seen { margin: 0 0 1rem; }
.seen figcaption { margin-bottom: .4rem; overflow-wrap: anywhere; }
.seen figcaption span { display: inline-block; }
.seen .stack { position: relative; line-height: 0; }
.seen .stack img { width: 100%; height: auto; }
.seen .stack img.classes { position: absolute; inset: 0; opacity: var(--opacity, .5);
  image-rendering: pixelated; }
.seen ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem;
  padding: 0; margin: .6rem 0; }
.seen ul.legend li { margin: 0; }
.seen ul.legend i { display: inline-block; width: 1em; height: 1em; margin-right: .4em;
  vertical-align: -.12em; border: 1px solid #0006; }
.seen ul.downloads { list-style: none; padding: 0; margin: .6rem 0 0; }
.seen ul.downloads a { padding: 0; }
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
    was_shrunk: bool = False,
) -> str:
    """Photo and classes, the legend with shares, overlay and index map to download.

    Args:
        title: Of the network.
        photo: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8.
        palette: (K, 3) uint8, RGB.
        classes: Their names.
        note: Said beside the title.
        was_shrunk: Whether the index map is smaller than the file, which is then said.
    """
    photo_file = _data('jpeg', cv2.imencode('.jpg', photo, _JPEG)[1])
    colors = _data('png', cv2.imencode('.png', colored(labels, palette))[1])
    index = _data('png', cv2.imencode('.png', labels)[1])
    seen = overlay(photo, labels, palette, classes, opacity=OVERLAY_OPACITY)
    seen_file = _data('jpeg', cv2.imencode('.jpg', seen, _JPEG)[1])
    size = f'{labels.shape[1]} x {labels.shape[0]}, ' if was_shrunk else ''
    shares = np.bincount(labels.ravel(), minlength=256)[: len(classes)] / labels.size
    entries = ''.join(
        f'<li><i style="background:{_hex(palette[i])}"></i>{escape(classes[i])} '
        f'<b>{escape(percent(shares[i]))}</b></li>'
        for i in np.argsort(-shares, kind='stable')
        if shares[i] > 0
    )
    return (
        f'<figure class="seen"><figcaption><b>{escape(title).replace("/", "/<wbr>")}</b> '
        f'<span>{escape(note)}</span></figcaption>'
        f'<div class="stack"><img class="photo" src="{photo_file}" alt="the photo">'
        f'<img class="classes" src="{colors}" alt="the classes in their colours"></div>'
        f'<ul class="legend">{entries}</ul>'
        '<ul class="downloads">'
        f'<li><a class="overlay" download="overlay.jpg" href="{seen_file}">Download the overlay'
        '</a> (JPEG with the legend)</li>'
        f'<li><a class="index" download="index.png" href="{index}">Download the index map</a> '
        f'(PNG, {size}its grey values are class numbers from 0)</li></ul></figure>'
    )


def problem(text: str) -> str:
    """A message in place of a view."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def _data(kind: str, content: np.ndarray) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content.tobytes()).decode()}'


def _hex(color: np.ndarray) -> str:
    return '#' + bytes(color.tolist()).hex()
