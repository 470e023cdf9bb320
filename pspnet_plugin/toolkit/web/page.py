"""The page, by gradio: an upload, a slider, a view for each network, examples."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from pspnet_plugin.apis import BadImage, Predictor
from pspnet_plugin.apis.photos import shrink
from pspnet_plugin.toolkit.web import uploads
from pspnet_plugin.toolkit.web.uploads import MAX_BYTES, Upload, open_upload
from pspnet_plugin.toolkit.web.views import label_photo, problem
from pspnet_plugin.utils.images import Bits

# Arguments of events: a photo takes all cores, or the GPU.
ONE_AT_A_TIME: dict[str, Any] = dict(
    api_visibility='private', concurrency_id='networks', concurrency_limit=1,
    trigger_mode='always_last',
)  # fmt: skip
# Requests that may wait; those beyond are refused.
MAX_WAITING = 200
# Seconds between sweeps of the uploads, and for which one is kept.
SWEEP, KEPT = 600, 3600
# Longer side in pixels of an example as it is shown; it is labelled as large as an upload.
THUMBNAIL = 512
OPACITY = "value => document.documentElement.style.setProperty('--opacity', value / 100)"
# The examples are below the result, which may be out of sight then.
TO_RESULT = "() => document.querySelector('#view-0').scrollIntoView({block: 'nearest'})"


def build_page(
    predictors: Mapping[str, Predictor],
    *,
    max_side: int,
    title: str,
    examples: Sequence[Upload] = (),
    bits: Bits | None = None,
) -> gr.Blocks:
    """Build the page for networks by their names on it, to be launched by ``launch_options``.

    ``bits`` are those of 16-bit uploads, which are refused without.
    """

    def label_upload(content: bytes) -> list[str | None]:
        try:
            upload = open_upload(content, max_side=max_side, bits=bits)
        except BadImage as error:
            return [None, problem(str(error))] + [''] * (len(predictors) - 1)
        return [None, *label_photo(predictors, upload)]  # None: free for the next upload

    def label_example(event: gr.SelectData) -> list[str | None]:
        return [None, *label_photo(predictors, examples[int(event.index) % len(examples)])]

    start = f'<p>Drop a photo{", or choose one of the examples" if examples else ""}.</p>'
    shown: list[gr.HTML] = []
    with (
        gr.Blocks(analytics_enabled=False, title=title, delete_cache=(SWEEP, KEPT)) as page,
        gr.Row(),
    ):
        with gr.Column(scale=1, min_width=280):
            gr.HTML(f'<h1>{escape(title)}</h1>', elem_classes='flush')
            upload = gr.File(
                type='binary', file_types=['image'], label='Photo', height=140, elem_id='upload'
            )
            gr.HTML(uploads.MESSAGE, elem_id='refusal', elem_classes='flush')
            opacity = gr.Slider(0, 100, 50, step=1, label='Opacity of the colours, %')
        # Below the other column on a phone: the result comes right after the slider.
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                for i, name in enumerate(predictors):
                    with gr.Column(min_width=300):
                        shown.append(gr.HTML('' if i else start, elem_id=f'view-{i}', label=name))
            gallery = _gallery(examples) if examples else None
        opacity.input(None, opacity, None, js=OPACITY, queue=False)
        upload.upload(label_upload, [upload], [upload, *shown], **ONE_AT_A_TIME)
        if gallery:
            gallery.select(None, None, None, js=TO_RESULT, queue=False)
            gallery.select(label_example, None, [upload, *shown], **ONE_AT_A_TIME)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


def _gallery(examples: Sequence[Upload]) -> gr.Gallery:
    return gr.Gallery(
        [shrink(example.photo, THUMBNAIL)[..., ::-1] for example in examples],
        label='Examples', height='auto', allow_preview=False, interactive=False,
        buttons=[], elem_id='examples',
    )  # fmt: skip


def launch_options() -> dict[str, Any]:
    """Return arguments of ``Blocks.launch``: nothing is shared, or fetched from elsewhere."""
    font, mono = ('system-ui', 'sans-serif'), ('ui-monospace', 'monospace')
    return dict(
        share=False, run_history=False, footer_links=[], ssr_mode=False, quiet=True,
        max_file_size=MAX_BYTES, head=uploads.script(),
        css=Path(__file__).with_name('page.css').read_text(encoding='utf-8'),
        theme=gr.themes.Default(font=font, font_mono=mono),
    )  # fmt: skip
