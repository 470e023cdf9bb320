"""Example photos of the page: given by whoever runs it, or streets, photographed and generated."""

import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from pspnet_plugin.apis.photos import read_photo
from pspnet_plugin.toolkit.prediction.sources import find_sources
from pspnet_plugin.toolkit.synthetic import street_scene
from pspnet_plugin.toolkit.web.uploads import Upload
from pspnet_plugin.utils.images import Bits

SCENES = 4
MAX_EXAMPLES = 8  # more would push what is below them off the screen


def sample_photos(max_side: int) -> list[Upload]:
    """Read the sample photo of a park in Beijing that scikit-learn ships, if it is installed."""
    try:
        package = metadata.distribution('scikit-learn')
    except metadata.PackageNotFoundError:
        return []
    path = Path(str(package.locate_file('sklearn/datasets/images/china.jpg')))
    return [Upload.shrunk(read_photo(path), max_side)] if path.is_file() else []


def street_scenes(count: int = SCENES) -> list[Upload]:
    """Generate street scenes of 512 x 256 pixels, with objects of the classes of Cityscapes."""
    size = 512, 256
    scenes = (street_scene(np.random.default_rng([2024, i]))[0] for i in range(count))  # RGB
    return [
        Upload(cv2.resize(scene[..., ::-1], size, interpolation=cv2.INTER_AREA), size)
        for scene in scenes
    ]


def read_examples(
    inputs: Sequence[str], *, max_side: int, bits: Bits | None = None
) -> list[Upload]:
    """Read the first photos that a command line names, shrunk to ``max_side``.

    ``FileNotFoundError``: an input names nothing. ``ValueError``: one is a video, or unreadable.
    """
    # One at a time: photos of two directories may share a name here, where no outputs are written.
    sources = [source for text in inputs for source in find_sources([text])]
    if len(sources) > MAX_EXAMPLES:
        print(f'web_demo: {MAX_EXAMPLES} of the {len(sources)} examples are shown', file=sys.stderr)
    sources = sources[:MAX_EXAMPLES]
    for video in (source.path for source in sources if source.is_video):
        raise ValueError(f'--examples: {video} is a video; give photos')
    return [Upload.shrunk(read_photo(source.path, bits=bits), max_side) for source in sources]
