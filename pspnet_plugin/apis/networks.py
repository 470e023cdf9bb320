"""A segmentor that labels batches of photos, as the framework's test loop does."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.models import EncoderDecoder

from pspnet_plugin.apis.loading import describe, load_model
from pspnet_plugin.apis.readers import shrunk
from pspnet_plugin.apis.sources import BadImage, ImageTooLarge
from pspnet_plugin.apis.stream import Network
from pspnet_plugin.apis.trained_size import trained_side
from pspnet_plugin.utils.resizing import fit

# What pipelines and networks raise of a photo that they do not take.
FAULTS = (RuntimeError, ValueError, MemoryError, AssertionError, cv2.error)
# Of more, each has a core or more, and no more is gained; what each holds is.
MOST_LANES = 4


class TorchNetwork:
    """A segmentor with the test pipeline of its config.

    Args:
        model: In eval mode, on its device.
        config: Its config, whose ``test_dataloader`` has the pipeline.
        about: As ``describe`` has it.

    Attributes:
        classes: Their names.
        palette: RGB of each.
        lanes: On a CPU, one for each core, up to four; 1 on other devices.
        trained_side: Of ``trained_side`` of its config.

    Raises:
        ValueError: the config has no test pipeline, or index maps cannot hold the classes.
    """

    def __init__(self, model: EncoderDecoder, config: Config, about: dict) -> None:
        if model.out_channels > 256:
            raise ValueError(
                f'the network has {model.out_channels} classes; index maps of 8 bits hold 256'
            )
        init_default_scope(config.get('default_scope', 'mmseg'))
        self.model = model
        self.classes: list[str] = about['classes']
        self.palette = np.array(about['palette'], np.uint8).reshape(-1, 3)
        self.trained_side = trained_side(config)
        dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
        if not dataset.get('pipeline'):
            raise ValueError(
                f'{config.filename}: expected a test_dataloader whose dataset has a pipeline, by '
                'which photos are prepared'
            )
        steps = [dict(step) for step in dataset.pipeline]
        loading = [step for step in steps if step['type'] == 'LoadImageFromFile'][:1]
        loading = [{**step, 'type': 'LoadImageFromNDArray'} for step in loading or [{}]]
        steps = [step for step in steps if not step['type'].startswith('Load')]
        self._pipeline = Compose([*loading, *steps])
        on_cpu = next(model.parameters()).device.type == 'cpu'
        self._threads = torch.get_num_threads()
        self.lanes = min(self._threads, MOST_LANES) if on_cpu else 1
        self._seen: dict[tuple[int, int], int] = {}

    def enter_lane(self) -> None:
        """Gives this thread its share of the cores."""
        torch.set_num_threads(self._threads // self.lanes)

    def seen(self, height: int, width: int) -> int:
        """Pixels that the network is given of a photo of a size."""
        size = height, width
        if size not in self._seen:
            try:
                seen = self.prepare(np.zeros((*size, 3), np.uint8))['inputs'].shape[-2:]
            except FAULTS:  # the photo itself will say so
                seen = size
            self._seen[size] = seen[0] * seen[1]
        return self._seen[size]

    def prepare(self, photo: np.ndarray) -> dict:
        """A photo, (H, W, 3) uint8 BGR, as the test pipeline hands it to the network."""
        return self._pipeline(dict(img=photo))

    def label(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Class indices of photos of one size.

        Args:
            photos: (H, W, 3) uint8 BGR each.

        Returns:
            (H, W) uint8 each.

        Raises:
            ImageTooLarge: memory does not suffice.
            BadImage: the network does not take them for another reason.
        """
        try:
            samples = [self.prepare(photo) for photo in photos]
            with torch.inference_mode():
                results = self.model.test_step(pseudo_collate(samples))
        except FAULTS as error:
            height, width = photos[0].shape[:2]
            if 'memory' in str(error).lower() or isinstance(error, MemoryError):
                raise ImageTooLarge(
                    f'{len(photos)} of {width}x{height} pixels do not fit into memory; make them '
                    'smaller, or the --batch'
                ) from error
            text = ' '.join(str(error).split())[-300:]
            raise BadImage(f'{width}x{height} pixels cannot be labelled: {text}') from error
        return [r.pred_sem_seg.data[0].to(torch.uint8).cpu().numpy() for r in results]


class ShrinkingNetwork:
    """A network that sees large photos shrunk; their labels are of the photos' own size.

    Args:
        network: Any.
        max_side: Pixels that the longer side of what it sees has at most.
        told: Called, once, before the first photo that is shrunk.

    Attributes:
        classes: Their names.
        palette: RGB of each.
    """

    def __init__(
        self, network: Network, max_side: int, *, told: Callable[[], None] | None = None
    ) -> None:
        self._network = network
        self._max_side = max_side
        self._told = told
        self.classes, self.palette = network.classes, network.palette
        self.lanes, self.enter_lane = network.lanes, network.enter_lane

    def seen(self, height: int, width: int) -> int:
        """Pixels that the network is given of a photo of a size."""
        return self._network.seen(*fit((height, width), self._max_side))

    def label(self, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(H, W, 3) uint8 BGR each, of one size, to (H, W) uint8; raises what the network does."""
        if self._told and max(photos[0].shape[:2]) > self._max_side:
            told, self._told = self._told, None
            told()
        labels = self._network.label([shrunk(photo, self._max_side) for photo in photos])
        size = photos[0].shape[1::-1]
        return [cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in labels]


def open_torch_network(config: Config, checkpoint: Path, *, device: str) -> TorchNetwork:
    """The network of a config with the weights of a checkpoint, on a device.

    Args:
        config: One of ``load_config``.
        checkpoint: Its file.
        device: ``'cpu'``, ``'cuda:0'``, …

    Raises:
        FileNotFoundError: the checkpoint is missing.
        ValueError: the checkpoint is not one of the network, or the device does not exist.
    """
    model, meta = load_model(config, checkpoint)
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:
        text = ' '.join(str(error).split())[:200]
        raise ValueError(f'--device {device}: {text}') from None
    return TorchNetwork(model, config, describe(model, config, meta))
