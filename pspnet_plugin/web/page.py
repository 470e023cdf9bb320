"""The page itself, by gradio: an upload, samples, a slider, a view a network."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import gradio as gr
import numpy as np

from pspnet_plugin.datasets.scenes import street_scene
from pspnet_plugin.prediction.networks import TorchNetwork
from pspnet_plugin.prediction.sources import BadPicture, TooLarge
from pspnet_plugin.web.uploads import MAX_BYTES, open_upload
from pspnet_plugin.web.views import CSS, problem, view

SAMPLES = 4
# Requests that wait for their turn; those beyond are told so.
QUEUE = 200
# Seconds between looks at what was uploaded, and for which it is kept.
KEPT = 600, 3600
START = 'Drop a photo on the left, or choose one of the generated scenes.'
OPACITY = "value => document.documentElement.style.setProperty('--opacity', value / 100)"


def samples(count: int = SAMPLES) -> list[np.ndarray]:
    """Generated scenes, (256, 512, 3) uint8 BGR."""
    scenes = (street_scene(np.random.default_rng([2024, i]))[0] for i in range(count))  # RGB
    return [
        cv2.resize(scene[..., ::-1], (512, 256), interpolation=cv2.INTER_AREA) for scene in scenes
    ]


def label_photo(
    networks: Mapping[str, TorchNetwork], photo: np.ndarray, note: str = ''
) -> list[str]:
    """A view for each network, or in its place why there is none.

    Args:
        networks: By what they are called.
        photo: (H, W, 3) uint8 BGR.
        note: Said of the photo.
    """
    views = []
    for name, network in networks.items():
        begun = time.perf_counter()
        try:
            (labels,) = network.label([photo])
        except BadPicture as error:  # its own words are for who runs the page
            print(f'web_demo: {name}: {error}', file=sys.stderr, flush=True)
            if isinstance(error, TooLarge):
                why = 'is too large for this machine'
            else:
                why = 'cannot be labelled by this network; try one of another size'
            views.append(problem(f'{name}: this photo {why}.'))
            continue
        seconds = time.perf_counter() - begun
        said = f'{photo.shape[1]} x {photo.shape[0]} pixels, {seconds:.2f} s{note}'
        views.append(view(name, photo, labels, network.palette, network.classes, note=said))
    return views


def build_page(networks: Mapping[str, TorchNetwork], *, max_side: int) -> gr.Blocks:
    """The page, to be launched by ``launch_options``.

    Args:
        networks: By what they are called on it.
        max_side: Longer sides of photos are shrunk to so many pixels.
    """
    pictures = samples()

    def label_upload(content: bytes) -> list[str | None]:
        try:
            upload = open_upload(content, max_side=max_side)
        except BadPicture as error:
            return [None, problem(str(error))] + [''] * (len(networks) - 1)
        width, height = upload.original
        note = f'; shrunk from {width} x {height}' if upload.was_shrunk else ''
        return [None, *label_photo(networks, upload.photo, note)]  # the place is free for the next

    def label_sample(event: gr.SelectData) -> list[str | None]:
        return [None, *label_photo(networks, pictures[int(event.index) % len(pictures)])]

    with (
        gr.Blocks(
            analytics_enabled=False, title='Street scenes by class', delete_cache=KEPT
        ) as page,
        gr.Row(),
    ):
        with gr.Column(scale=1, min_width=280):
            gr.Markdown('## Street scenes by class')
            upload = gr.File(
                type='binary', file_types=['image'], label='Photo', height=140, elem_id='upload'
            )
            opacity = gr.Slider(0, 100, 50, step=1, label='Opacity of the colours, %')
            gallery = gr.Gallery(
                [picture[..., ::-1] for picture in pictures],
                label='Generated scenes', columns=2, height='auto', allow_preview=False,
                interactive=False, buttons=[], elem_id='samples',
            )  # fmt: skip
        with gr.Column(scale=2, min_width=320), gr.Row():
            views = []
            for i, name in enumerate(networks):
                with gr.Column(min_width=300):
                    start = f'<p>{START}</p>' if i == 0 else ''
                    views.append(gr.HTML(start, elem_id=f'view-{i}', label=name))
        opacity.input(None, opacity, None, js=OPACITY, queue=False)
        _on(upload.upload, label_upload, [upload], [upload, *views])
        _on(gallery.select, label_sample, None, [upload, *views])
    # One at a time: a photo takes all cores, or the GPU.
    return page.queue(max_size=QUEUE, default_concurrency_limit=1)


def launch_options() -> dict[str, Any]:
    """Arguments of ``Blocks.launch``: nothing is fetched from elsewhere or shared."""
    return dict(
        share=False,
        max_file_size=MAX_BYTES,
        css=CSS,
        theme=gr.themes.Default(
            font=('system-ui', 'sans-serif'), font_mono=('ui-monospace', 'monospace')
        ),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        quiet=True,
    )


def _on(event: Callable, function: Callable, inputs: list | None, outputs: list) -> None:
    event(
        function, inputs, outputs, api_visibility='private', concurrency_id='networks',
        concurrency_limit=1, trigger_mode='always_last',
    )  # fmt: skip
