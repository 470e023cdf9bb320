"""Photos to choose from on the page: of whoever runs it, or generated street scenes."""

import sys
from collections.abc import Sequence

import cv2
import numpy as np

from pspnet_plugin.apis.readers import read_photo, shrunk
from pspnet_plugin.apis.sources import find_sources
from pspnet_plugin.toolkit.synthetic import street_scene
from pspnet_plugin.toolkit.web.uploads import Upload

SCENES = 4
# More would push what lies below them off the screen.
MOST = 8


def street_scenes(count: int = SCENES) -> list[Upload]:
    """Generated scenes of 512 x 256 pixels, with things of the classes of Cityscapes."""
    scenes = (street_scene(np.random.default_rng([2024, i]))[0] for i in range(count))  # RGB
    return [
        Upload(cv2.resize(scene[..., ::-1], (512, 256), interpolation=cv2.INTER_AREA), (512, 256))
        for scene in scenes
    ]


def read_examples(inputs: Sequence[str], *, max_side: int) -> list[Upload]:
    """The first photos of those that a command line names.

    Args:
        inputs: Photos, folders of them, patterns.
        max_side: As of ``open_upload``.

    Raises:
        FileNotFoundError: one names nothing.
        ValueError: one is a video, or cannot be read.
    """
    # One at a time: photos of two folders may have one name, since no file is made of them.
    sources = [source for text in inputs for source in find_sources([text])]
    for source in sources[:MOST]:
        if source.is_video:
            raise ValueError(f'--examples: {source.path} is a video; give photos')
    if len(sources) > MOST:
        print(f'web_demo: {MOST} of the {len(sources)} examples are shown', file=sys.stderr)
    examples = []
    for source in sources[:MOST]:
        photo = read_photo(source).photo
        height, width = photo.shape[:2]
        examples.append(Upload(shrunk(photo, max_side), (width, height)))
    return examples
