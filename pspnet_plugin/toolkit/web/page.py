"""The page itself, by gradio: an upload, a slider, a view a network, examples."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from pspnet_plugin.apis.readers import shrunk
from pspnet_plugin.apis.sources import BadImage, ImageTooLarge
from pspnet_plugin.apis.stream import Network
from pspnet_plugin.toolkit.web import refusals, views
from pspnet_plugin.toolkit.web.uploads import MAX_BYTES, Upload, open_upload
from pspnet_plugin.toolkit.web.views import problem, view

# Requests that wait for their turn; those beyond are told so.
QUEUE = 200
# Seconds between looks at what was uploaded, and for which it is kept.
KEPT = 600, 3600
# Pixels of the longer side of an example as it is shown; it is labelled as large as an upload.
THUMBNAIL = 512
OPACITY = "value => document.documentElement.style.setProperty('--opacity', value / 100)"
# The examples lie below the result, which may be out of sight then.
TO_RESULT = "() => document.querySelector('#view-0').scrollIntoView({block: 'nearest'})"
# As many columns of examples as there is room for, but two or more, below the label; the height is
# theirs.
CSS = """
.flush .html-container { padding: 0; }
.flush h1 { font-size: 1.4rem; }
#examples .grid-wrap { min-height: 0; max-height: none; padding-top: 34px; }
#examples .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(min(11rem, 40%), 1fr)); }
"""


def label_photo(networks: Mapping[str, Network], upload: Upload) -> list[str]:
    """A view for each network, or in its place why there is none.

    Args:
        networks: By what they are called.
        upload: The photo.
    """
    photo, made = upload.photo, []
    width, height = upload.original
    note = f'; shrunk from {width} x {height}' if upload.was_shrunk else ''
    for name, network in networks.items():
        begun = time.perf_counter()
        try:
            (labels,) = network.label([photo])
        except BadImage as error:  # its own words are for who runs the page
            print(f'web_demo: {name}: {error}', file=sys.stderr, flush=True)
            if isinstance(error, ImageTooLarge):
                why = 'is too large for this machine'
            else:
                why = 'cannot be labelled by this network; try one of another size'
            made.append(problem(f'{name}: this photo {why}.'))
            continue
        seconds = time.perf_counter() - begun
        said = f'{photo.shape[1]} x {photo.shape[0]} pixels, {seconds:.2f} s{note}'
        made.append(
            view(
                name, photo, labels, network.palette, network.classes, note=said,
                was_shrunk=upload.was_shrunk,
            )
        )  # fmt: skip
    return made


def build_page(
    networks: Mapping[str, Network],
    *,
    max_side: int,
    title: str,
    examples: Sequence[Upload] = (),
) -> gr.Blocks:
    """The page, to be launched by ``launch_options``.

    Args:
        networks: By what they are called on it.
        max_side: Longer sides of photos are shrunk to so many pixels.
        title: Of the page.
        examples: Photos to choose from.
    """

    def label_upload(content: bytes) -> list[str | None]:
        try:
            upload = open_upload(content, max_side=max_side)
        except BadImage as error:
            return [None, problem(str(error))] + [''] * (len(networks) - 1)
        return [None, *label_photo(networks, upload)]  # the place is free for the next

    def label_example(event: gr.SelectData) -> list[str | None]:
        return [None, *label_photo(networks, examples[int(event.index) % len(examples)])]

    with gr.Blocks(analytics_enabled=False, title=title, delete_cache=KEPT) as page, gr.Row():
        with gr.Column(scale=1, min_width=280):
            gr.HTML(f'<h1>{escape(title)}</h1>', elem_classes='flush')
            upload = gr.File(
                type='binary', file_types=['image'], label='Photo', height=140, elem_id='upload'
            )
            gr.HTML(refusals.MESSAGE, elem_id='refusal', elem_classes='flush')
            opacity = gr.Slider(0, 100, 50, step=1, label='Opacity of the colours, %')
        # On a phone it is below the other: the result comes right after the slider.
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                shown = _views(networks, or_examples=bool(examples))
            gallery = _gallery(examples) if examples else None
        opacity.input(None, opacity, None, js=OPACITY, queue=False)
        _on(upload.upload, label_upload, [upload], [upload, *shown])
        if gallery:
            gallery.select(None, None, None, js=TO_RESULT, queue=False)
            _on(gallery.select, label_example, None, [upload, *shown])
    # One at a time: a photo takes all cores, or the GPU.
    return page.queue(max_size=QUEUE, default_concurrency_limit=1)


def _views(networks: Mapping[str, Network], *, or_examples: bool) -> list[gr.HTML]:
    start = f'<p>Drop a photo{", or choose one of the examples" if or_examples else ""}.</p>'
    made = []
    for i, name in enumerate(networks):
        with gr.Column(min_width=300):
            made.append(gr.HTML('' if i else start, elem_id=f'view-{i}', label=name))
    return made


def _gallery(examples: Sequence[Upload]) -> gr.Gallery:
    return gr.Gallery(
        [shrunk(example.photo, THUMBNAIL)[..., ::-1] for example in examples],
        label='Examples', height='auto', allow_preview=False, interactive=False,
        buttons=[], elem_id='examples',
    )  # fmt: skip


def launch_options() -> dict[str, Any]:
    """Arguments of ``Blocks.launch``: nothing is fetched from elsewhere or shared."""
    return dict(
        share=False,
        max_file_size=MAX_BYTES,
        head=refusals.SCRIPT,
        css=CSS + views.CSS + refusals.CSS,
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
