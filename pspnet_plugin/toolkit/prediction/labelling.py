"""Files with pictures through a network, into files."""

from collections.abc import Callable, Iterator, Sequence

from pspnet_plugin.apis.readers import InputImage, read_frames, read_photo
from pspnet_plugin.apis.sources import BadImage, Source
from pspnet_plugin.apis.stream import Network, label_stream
from pspnet_plugin.toolkit.prediction.outputs import Outputs
from pspnet_plugin.toolkit.prediction.pair_reader import PairReader


def label_files(
    sources: Sequence[Source],
    network: Network,
    outputs: Outputs,
    *,
    pairs: PairReader | None = None,
    batch: int,
    bad: Callable[[str, BadImage], None],
) -> Iterator[int]:
    """Labels what files hold.

    Args:
        sources: Photos and videos, or pairs.
        network: Labels them.
        outputs: Writes what is made of each picture.
        pairs: How pairs are read, if the files are pairs.
        batch: Consecutive pictures of one size that are labelled at once, at most.
        bad: Called with the name of a picture that is left out and what is wrong; the name is
            empty where the error has it.

    Yields:
        After each batch, how many pictures it had.
    """
    read = _read_all(sources, pairs, outputs)
    return label_stream(read, network, outputs.write, batch=batch, bad=bad)


def _read_all(
    sources: Sequence[Source], pairs: PairReader | None, outputs: Outputs
) -> Iterator[InputImage | BadImage]:
    """All pictures that are to be labelled, and what is wrong with those that cannot be read."""
    for source in sources:
        try:
            if source.is_special:
                raise BadImage(f'{source.path} is a pipe or a device; expected a file')
            if source.is_video:
                yield from (f for f in read_frames(source) if not outputs.has_frame(f))
            else:
                yield pairs.read(source) if pairs else read_photo(source)
        except BadImage as error:
            yield error
