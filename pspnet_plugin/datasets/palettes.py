"""Palettes by name or file: classes, their colours and the void colours, as in ``metainfo``."""

from pathlib import Path

from mmengine.config import Config

from pspnet_plugin.datasets.label_codec import check_colors
from pspnet_plugin.datasets.pairs import CityscapesPairsDataset


def read_metainfo(source: str) -> dict:
    """``classes``, ``palette`` and ``void_palette`` of a known set or of a file.

    Args:
        source: ``'cityscapes'``, or a ``.json``, ``.yaml`` or ``.py`` file with those three (the
            last may be left out).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read as such, lacks classes or palette, or they are unusable.
    """
    if source == 'cityscapes':
        return {key: list(value) for key, value in CityscapesPairsDataset.METAINFO.items()}
    if not Path(source).is_file():
        raise FileNotFoundError(
            f'--palette {source}: no such file; give cityscapes, or a .json, .yaml or .py file '
            'with classes and palette (RGB of each), and void_palette if some colours are no class'
        )
    try:
        found = Config.fromfile(source).to_dict()
    except Exception as error:  # each format has errors of its own
        reason = ' '.join(str(error).split())
        raise ValueError(
            f'--palette {source}: {reason}; expected a .json, .yaml or .py file with classes and '
            'palette'
        ) from None
    missing = [key for key in ('classes', 'palette') if not found.get(key)]
    if missing:
        raise ValueError(f'{source} lacks {" and ".join(missing)}')
    metainfo = {key: list(found.get(key, ())) for key in ('classes', 'palette', 'void_palette')}
    for key in ('palette', 'void_palette'):
        metainfo[key] = [list(color) for color in check_colors(metainfo[key], name=key)]
    if len(metainfo['classes']) != len(metainfo['palette']):
        raise ValueError(
            f'{source}: {len(metainfo["classes"])} classes, but {len(metainfo["palette"])} colours'
        )
    return metainfo
