"""Files that are too large, or no pictures, are refused in the browser, before they are sent.

gradio does so as well, but its message goes after ten seconds and leaves a badge over the place for
the photo that says nothing but 'Error'.
"""

import json

from pspnet_plugin.toolkit.web.uploads import MAX_BYTES, NO_PICTURE, too_large

# Filled and shown by the script, and hidden again when another photo is given or chosen.
MESSAGE = '<p class="problem" role="alert" hidden></p>'
CSS = '#refusal:has([hidden]) { display: none; }'
# It listens in the capturing phase, before gradio.
SCRIPT = f"""<script>
{{
  const filesOf = {{
    change: event => event.target.files,
    drop: event => event.dataTransfer?.files,
    click: () => [],
  }};
  const problemOf = file => {{
    if (file.size > {MAX_BYTES})
      return {json.dumps(too_large('#'))}.replace('#', Math.ceil(file.size / 2 ** 20));
    return file.type.startsWith('image/') ? '' : {json.dumps(NO_PICTURE)};
  }};
  const check = event => {{
    const message = document.querySelector('#refusal p');
    const files = event.target.closest('#upload, #examples') && filesOf[event.type](event);
    if (!message || !files) return;
    message.textContent = [...files].map(problemOf).find(text => text) ?? '';
    message.hidden = !message.textContent;
    if (message.hidden) return;
    event.preventDefault();
    event.stopPropagation();
  }};
  for (const type in filesOf) document.addEventListener(type, check, true);
}}
</script>"""
