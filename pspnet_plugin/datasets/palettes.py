"""Palettes by name or file: classes, their colours and the void colours, as in ``metainfo``."""

from pathlib import Path

from mmengine.config import Config
from mmseg.registry import DATASETS

from pspnet_plugin.datasets.label_codec import check_colors
from pspnet_plugin.datasets.pairs import CityscapesPairsDataset

# label_colors.txt of CamVid, mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid: 32 with Void.
CAMVID = dict(
    classes=[
        'Animal', 'Archway', 'Bicyclist', 'Bridge', 'Building', 'Car', 'CartLuggagePram', 'Child',
        'Column_Pole', 'Fence', 'LaneMkgsDriv', 'LaneMkgsNonDriv', 'Misc_Text',
        'MotorcycleScooter', 'OtherMoving', 'ParkingBlock', 'Pedestrian', 'Road', 'RoadShoulder',
        'Sidewalk', 'SignSymbol', 'Sky', 'SUVPickupTruck', 'TrafficCone', 'TrafficLight', 'Train',
        'Tree', 'Truck_Bus', 'Tunnel', 'VegetationMisc', 'Wall',
    ],
    palette=[
        [64, 128, 64], [192, 0, 128], [0, 128, 192], [0, 128, 64], [128, 0, 0], [64, 0, 128],
        [64, 0, 192], [192, 128, 64], [192, 192, 128], [64, 64, 128], [128, 0, 192], [192, 0, 64],
        [128, 128, 64], [192, 0, 192], [128, 64, 64], [64, 192, 128], [64, 64, 0], [128, 64, 128],
        [128, 128, 192], [0, 0, 192], [192, 128, 128], [128, 128, 128], [64, 128, 192], [0, 0, 64],
        [0, 64, 64], [192, 64, 128], [128, 128, 0], [192, 128, 192], [64, 0, 64], [192, 192, 0],
        [64, 192, 0],
    ],
    void_palette=[[0, 0, 0]],
)  # fmt: skip
# Scripts/test_segmentation_camvid.py of SegNet-Tutorial, which groups CamVid's classes.
CAMVID11 = dict(
    classes=[
        'Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence', 'Car',
        'Pedestrian', 'Bicyclist',
    ],
    palette=[
        [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
        [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0], [0, 128, 192],
    ],
    void_palette=[[0, 0, 0]],
)  # fmt: skip
# CMP Facade Database, cmp.felk.cvut.cz/~tylecr1/facade: labels 1 to 12 in MATLAB's jet(12). Its
# pairs as pix2pix distributes them have the labels in the right half of 512 x 256 pictures.
FACADES = dict(
    classes=[
        'background', 'facade', 'window', 'door', 'cornice', 'sill', 'balcony', 'blind', 'deco',
        'molding', 'pillar', 'shop',
    ],
    palette=[
        [0, 0, 170], [0, 0, 255], [0, 85, 255], [0, 170, 255], [0, 255, 255], [85, 255, 170],
        [170, 255, 85], [255, 255, 0], [255, 170, 0], [255, 85, 0], [255, 0, 0], [170, 0, 0],
    ],
    void_palette=[[0, 0, 0]],
)  # fmt: skip
NAMED = dict(
    cityscapes=CityscapesPairsDataset.METAINFO,
    camvid=CAMVID,
    camvid11=CAMVID11,
    facades=FACADES,
)


def known_palettes() -> dict[str, dict]:
    """``classes``, ``palette`` and ``void_palette`` by name.

    First those of this file, then those of the stock datasets, by the names of their classes; the
    framework's registry says which there are.
    """
    found = {name: _as_lists(metainfo) for name, metainfo in NAMED.items()}
    for name, dataset in DATASETS.module_dict.items():
        metainfo = getattr(dataset, 'METAINFO', {})
        if metainfo.get('classes') and metainfo.get('palette'):
            found[name] = _as_lists(metainfo)
    return found


def read_metainfo(source: str) -> dict:
    """``classes``, ``palette`` and ``void_palette`` of a known set or of a file.

    Args:
        source: A name of ``known_palettes``, such as ``'camvid'`` or ``'LoveDADataset'``, or a
            ``.json``, ``.yaml`` or ``.py`` file with those three (the last may be left out).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read as such, lacks classes or palette, or they are unusable.
    """
    known = known_palettes()
    if source in known:
        return known[source]
    if not Path(source).is_file():
        raise FileNotFoundError(
            f'--palette {source}: no such file; give {", ".join(NAMED)}, the name of a stock '
            'dataset such as LoveDADataset, or a .json, .yaml or .py file with classes and palette '
            '(RGB of each), and void_palette if some colours are no class'
        )
    try:
        found = Config.fromfile(source).to_dict()
    except Exception as error:  # each format has errors of its own
        reason = ' '.join(str(error).split())
        raise ValueError(
            f'--palette {source}: {reason}; expected a .json, .yaml or .py file with classes and '
            'palette'
        ) from None
    missing = [key for key in ('classes', 'palette') if key not in found]
    if missing:
        raise ValueError(f'{source} lacks {" and ".join(missing)}')
    try:
        return _checked(found)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None


def _checked(found: dict) -> dict:
    classes = found['classes']
    if not isinstance(classes, list | tuple) or not classes:
        raise ValueError(f'classes = {classes!r}: expected a list of names, one a class')
    for position, name in enumerate(classes):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'classes[{position}] = {name!r}: expected a name, as text in quotes')
    if repeated := sorted({name for name in classes if classes.count(name) > 1}):
        raise ValueError(f'classes are named twice: {", ".join(repeated)}; give each its own name')
    metainfo = dict(classes=list(classes))
    for key in ('palette', 'void_palette'):
        colors = found.get(key, ())
        if not isinstance(colors, list | tuple):
            raise ValueError(f'{key} = {colors!r}: expected a list of colours, each [R, G, B]')
        for position, color in enumerate(colors):  # true is 1 to check_colors
            if isinstance(color, list | tuple) and any(isinstance(v, bool) for v in color):
                raise ValueError(
                    f'{key}[{position}] = {color!r}: expected three levels of 0..255, RGB'
                )
        metainfo[key] = [list(color) for color in check_colors(colors, name=key)]
    if len(classes) != len(metainfo['palette']):
        raise ValueError(
            f'{len(classes)} classes, but {len(metainfo["palette"])} colours in palette; each '
            'class needs one, in the same order'
        )
    return metainfo


def _as_lists(metainfo: dict) -> dict:
    return {key: list(metainfo.get(key, ())) for key in ('classes', 'palette', 'void_palette')}
