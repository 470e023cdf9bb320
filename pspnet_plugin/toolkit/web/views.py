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
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.apis import BadImage, ImageTooLarge, Prediction, Predictor
from pspnet_plugin.apis.drawing import class_shares, colored, largest_first, percent
from pspnet_plugin.toolkit.web.uploads import Upload
from pspnet_plugin.utils.templates import render

TEMPLATE = Path(__file__).with_name('view.html.j2')


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
    shares = class_shares(labels, len(classes))
    return render(
        TEMPLATE, title=title, note=note,
        photo=_url('jpeg', prediction.photo), drawn=_url('jpeg', prediction.overlay()),
        colors=_url('png', colored(labels, palette)), index=_url('png', labels),
        size=f'{labels.shape[1]} x {labels.shape[0]}, ' if is_shrunk else '',
        entries=[
            (f'#{bytes(palette[i].tolist()).hex()}', classes[i], percent(shares[i]))
            for i in largest_first(shares)
        ],
    )  # fmt: skip


def problem(text: str) -> str:
    """Show a message in place of a view."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def _url(kind: str, image: np.ndarray) -> str:
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if kind == 'jpeg' else []
    content = cv2.imencode(f'.{kind}', image, options)[1].tobytes()
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'
