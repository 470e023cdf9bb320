"""Views of a labelled photo, as HTML that needs no other file.

The colours lie over the photo in an element of their own, whose opacity is the CSS variable
``--opacity``: a slider moves it without asking the server. gradio's ``AnnotatedImage`` bakes the
opacity into its mask files, and has no shares and no downloads.
"""

import base64
import sys
import time
from collections.abc import Mapping
from html import escape

import cv2
import numpy as np

from pspnet_plugin.apis import BadImage, ImageTooLarge, Prediction, Predictor
from pspnet_plugin.apis.drawing import class_shares, colored, largest_first, percent
from pspnet_plugin.toolkit.web.uploads import Upload

CSS = """
.view { margin: 0 0 1rem; }
.view figcaption { margin-bottom: .4rem; overflow-wrap: anywhere; }
.view figcaption span { display: inline-block; }
.view .stack { position: relative; line-height: 0; }
.view .stack img { width: 100%; height: auto; }
.view .stack img.classes { position: absolute; inset: 0; opacity: var(--opacity, .5);
  image-rendering: pixelated; }
.view ul.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem;
  padding: 0; margin: .6rem 0; }
.view ul.legend li { margin: 0; }
.view ul.legend i { display: inline-block; width: 1em; height: 1em; margin-right: .4em;
  vertical-align: -.12em; border: 1px solid #0006; }
.view ul.downloads { list-style: none; padding: 0; margin: .6rem 0 0; }
.view ul.downloads a { padding: 0; }
.problem { border-left: 4px solid #d62728; background: #d6272818; padding: .6rem .9rem; }
"""


def label_photo(predictors: Mapping[str, Predictor], upload: Upload) -> list[str]:
    """Return a view for each network, or in its place the reason why there is none."""
    results = []
    height, width = upload.photo.shape[:2]
    shrunk_from = '; shrunk from {} x {}'.format(*upload.original) if upload.is_shrunk else ''
    for name, predictor in predictors.items():
        start = time.perf_counter()
        try:
            prediction = predictor(upload.photo)
        except BadImage as error:  # its message is for whoever runs the page
            print(f'web_demo: {name}: {error}', file=sys.stderr, flush=True)
            reason = 'cannot be labelled by this network; try one of another size'
            if isinstance(error, ImageTooLarge):
                reason = 'is too large for this machine'
            results.append(problem(f'{name}: this photo {reason}.'))
            continue
        note = f'{width} x {height} pixels, {time.perf_counter() - start:.2f} s{shrunk_from}'
        results.append(view(name, prediction, note=note, is_shrunk=upload.is_shrunk))
    return results


def view(title: str, prediction: Prediction, *, note: str = '', is_shrunk: bool = False) -> str:
    """Show photo, classes and a legend with shares; overlay and label map can be downloaded.

    The size of a label map that is smaller than the file is shown.
    """
    labels, palette, classes = prediction.labels, prediction.palette, prediction.classes
    photo, drawn = _url('jpeg', prediction.photo), _url('jpeg', prediction.overlay())
    colors, index = _url('png', colored(labels, palette)), _url('png', labels)
    size = f'{labels.shape[1]} x {labels.shape[0]}, ' if is_shrunk else ''
    shares = class_shares(labels, len(classes))
    entries = ''.join(
        f'<li><i style="background:{_hex(palette[i])}"></i>{escape(classes[i])} '
        f'<b>{escape(percent(shares[i]))}</b></li>'
        for i in largest_first(shares)
    )
    return (
        f'<figure class="view"><figcaption><b>{escape(title).replace("/", "/<wbr>")}</b> '
        f'<span>{escape(note)}</span></figcaption>'
        f'<div class="stack"><img class="photo" src="{photo}" alt="the photo">'
        f'<img class="classes" src="{colors}" alt="the classes in their colours"></div>'
        f'<ul class="legend">{entries}</ul>'
        '<ul class="downloads">'
        f'<li><a class="overlay" download="overlay.jpg" href="{drawn}">'
        'Download the overlay</a> (JPEG with the legend)</li>'
        f'<li><a class="index" download="index.png" href="{index}">'
        f'Download the label map</a> (PNG, {size}grey values are class numbers from 0)</li>'
        '</ul></figure>'
    )


def problem(text: str) -> str:
    """Show a message in place of a view."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def _url(kind: str, image: np.ndarray) -> str:
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if kind == 'jpeg' else []
    content = cv2.imencode(f'.{kind}', image, options)[1].tobytes()
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def _hex(color: np.ndarray) -> str:
    return '#' + bytes(color.tolist()).hex()
