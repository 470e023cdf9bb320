"""What pairs meet in the world: each is named, and on request left out, never guessed at."""

import re
import shutil
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers.pairs import ROOT, build, coloured, label_map, photo, write_pair
from helpers.programs import DEMO, on, run_tool, scalars
from mmengine.dataset import ConcatDataset, RepeatDataset
from PIL import Image
from torch.utils.data import DataLoader

from pspnet_plugin.datasets.bad_pairs import BadPair, all_bad_pairs
from pspnet_plugin.datasets.pair_backends import read_pair
from pspnet_plugin.engine.hooks.bad_pairs_hook import BadPairsHook
from pspnet_plugin.engine.loops.sampling import SeededDataset
from pspnet_plugin.toolkit.conversion.label_maps import read_photo
from pspnet_plugin.utils import images as pictures


def pair(height=64, width=64) -> np.ndarray:
    """(H, 2W, 3) RGB of a pair."""
    labels = label_map(height, width)
    return np.hstack([photo(height, width), coloured(labels)])[..., ::-1]


def save(path: Path, picture=None, **options) -> None:
    Image.fromarray(pair() if picture is None else picture).save(path, **options)


def cut_off(path: Path) -> None:
    save(path, quality=95)
    path.write_bytes(path.read_bytes()[:-600])


def empty(path: Path) -> None:
    path.write_bytes(b'')


def text(path: Path) -> None:
    path.write_text('no picture\n')


def sixteen_bits(path: Path) -> None:
    cv2.imwrite(str(path), pair()[..., ::-1].astype(np.uint16) * 257)


def sixteen_bits_grey(path: Path) -> None:
    cv2.imwrite(str(path), pair()[..., 0].astype(np.uint16) * 257)


def cmyk(path: Path) -> None:
    Image.fromarray(pair()).convert('CMYK').save(path, quality=95)


def animated(path: Path) -> None:
    first, second = Image.fromarray(pair()), Image.fromarray(pair()[::-1].copy())
    first.save(path, save_all=True, append_images=[second], duration=100)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(path, exif=exif, quality=95)


def upside_down(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    save(path, exif=exif)


def bomb(path: Path) -> None:
    """A PNG of 30,000 x 30,000 pixels in 3 KB of header and zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_of = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + sum_of

    header = struct.pack('>IIBBBBB', 30_000, 30_000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(3_000_000), 9)
    parts = chunk(b'IHDR', header), chunk(b'IDAT', data), chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))


def odd_width(path: Path) -> None:
    save(path, pair()[:, :-1].copy())


def another_palette(path: Path) -> None:
    save(path, np.hstack([pair()[:, :64], 255 - pair()[:, 64:]]))


def gif(path: Path) -> None:
    Image.fromarray(pair()).save(path, format='GIF')


ROTTEN = {
    cut_off: ('jpg', 'cut off'),
    empty: ('jpg', r'cut off \(0 bytes\)'),
    text: ('png', 'no picture'),
    sixteen_bits: ('png', '16 bits a channel, expected 8'),
    sixteen_bits_grey: ('png', '16 bits a channel, expected 8'),
    cmyk: ('jpg', 'CMYK, expected RGB'),
    animated: ('webp', 'holds 2 pictures, expected one'),
    turned: ('jpg', 'EXIF orientation is 6.*expected 1'),
    upside_down: ('png', 'EXIF orientation is 3.*expected 1'),
    bomb: ('png', f'unfold to more than {Image.MAX_IMAGE_PIXELS} pixels'),
    odd_width: ('png', 'odd width'),
    another_palette: ('png', 'no picture in this palette'),
    gif: ('png', 'it is a GIF, expected one of JPEG, PNG'),
}


@pytest.fixture(params=ROTTEN, ids=lambda make: make.__name__)
def rotten(request, tmp_path) -> tuple[Path, str]:
    """A root of three train and two val pairs, of which one each is rotten, and what is said."""
    make = request.param
    suffix, said = ROTTEN[make]
    for split, count in (('train', 3), ('val', 2)):
        for i in range(1, count + 1):
            write_pair(tmp_path / split / f'{i}.png', seed=i)
        make(tmp_path / split / f'rotten.{suffix}')
    return tmp_path, said


def test_a_rotten_pair_is_named(rotten):
    root, said = rotten
    dataset = build(root)
    assert len(dataset) == 4
    with pytest.raises(BadPair, match=f'rotten.*{said}'):
        for sample in dataset:
            assert sample['inputs'].shape == (3, 64, 64)


def test_on_request_it_is_left_out(rotten, caplog):
    root, said = rotten
    for split, count in (('train', 3), ('val', 2)):
        dataset = build(root, split, on_bad_pair='skip', test_mode=split == 'val')
        assert len(dataset) == count == len(list(dataset))
        ((path, reason),) = dataset.bad_pairs.reasons.items()
        assert 'rotten' in path and dataset.bad_pairs.count == count + 1
        assert re.search(f'rotten.*{said}', reason)


@pytest.mark.parametrize('exif', [b'Exif\0\0II*\0', b'Exif\0\0MM'], ids=['cut off', 'no header'])
def test_a_damaged_exif_is_named(exif, tmp_path):
    path = tmp_path / '1.png'
    save(path, exif=exif)
    with pytest.raises(BadPair, match=r'1\.png: its EXIF block, .*, is damaged .*; remove it'):
        read_pair(str(path))
    with pytest.raises(ValueError, match=r'1\.png: its EXIF block'):
        read_photo(path)


def test_a_whole_pair_with_a_harmless_exif_is_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    exif[0x010F] = 'a camera'
    save(tmp_path / '1.jpg', exif=exif, quality=95)
    assert read_pair(str(tmp_path / '1.jpg')).shape == (64, 128, 3)


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', '1'])
def test_other_8_bit_modes_are_read_as_colours(mode, tmp_path):
    Image.fromarray(pair()).convert(mode).save(tmp_path / '1.png')
    read = read_pair(str(tmp_path / '1.png'))
    expected = np.array(Image.open(tmp_path / '1.png').convert('RGB'))[..., ::-1]
    np.testing.assert_array_equal(read, expected)


def test_none_left_is_an_error(tmp_path):
    (tmp_path / 'train').mkdir()
    for i in range(3):
        text(tmp_path / 'train' / f'{i}.png')
    with pytest.raises(ValueError, match='none of the 3 pairs can be used; of the first, .*0.png'):
        build(tmp_path, on_bad_pair='skip')


def test_other_policies_are_refused(pairs_root):
    with pytest.raises(ValueError, match="on_bad_pair='ignore', expected one of"):
        build(pairs_root, on_bad_pair='ignore')


@pytest.mark.parametrize('workers', [0, 2])
def test_a_pair_lost_in_training_is_marked_and_replaced(workers, pairs_root):
    dataset = build(pairs_root, on_bad_pair='skip')
    (pairs_root / 'train/2.png').unlink()
    (pairs_root / 'train/3.png').write_bytes(b'rotten')
    seeded = SeededDataset(dataset, seed=0)
    order = [(position, position % 4) for position in range(8)]
    loader = DataLoader(seeded, sampler=order, num_workers=workers, collate_fn=lambda batch: batch)
    names = [Path(sample['data_samples'].img_path).name for (sample,) in loader]
    assert set(names) == {'1.png', '4.png'} and len(names) == 8
    assert dataset.bad_pairs.lost.tolist() == [0, 1, 1, 0]
    assert names == [Path(s['data_samples'].img_path).name for (s,) in loader], 'repeatable'


def test_a_pair_lost_before_it_is_scored_is_an_error(pairs_root):
    """Left out silently, it would change the score."""
    dataset = build(pairs_root, 'val', on_bad_pair='skip', test_mode=True)
    (pairs_root / 'val/2.png').unlink()
    with pytest.raises(FileNotFoundError, match='2.png'):
        list(dataset)


def test_datasets_are_found_within_wrappers(pairs_root):
    one, two = (build(pairs_root, split, on_bad_pair='skip') for split in ('train', 'val'))
    both = SeededDataset(ConcatDataset([one, two, build(pairs_root)]))
    assert [found for found, _ in all_bad_pairs(both)] == [one, two]
    assert [found for found, _ in all_bad_pairs(RepeatDataset(one, 2))] == [one]


def test_a_training_reports_what_it_left_out_and_lost(demo_root, tmp_path):
    """Bad ones in train and val from the start, and one that vanishes; by the stock tools."""
    root = tmp_path / 'pairs'
    shutil.copytree(demo_root, root)
    cut_off(root / 'train' / 'bad.jpg')
    empty(root / 'val' / 'bad.jpg')
    vanishing = root / 'train' / '3.jpg'
    (tmp_path / 'vanish.py').write_text(f"""
from pathlib import Path
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Vanish(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        Path({str(vanishing)!r}).unlink(missing_ok=True)
""")
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = {str(DEMO)!r}
custom_imports = dict(imports=['pspnet_plugin', 'vanish'], allow_failed_imports=False)
custom_hooks = [dict(type='BadPairsHook'), dict(type='Vanish')]
train_dataloader = dict(dataset=dict(on_bad_pair='skip'))
val_dataloader = dict(dataset=dict(on_bad_pair='skip'))
""")
    run = tmp_path / 'run'
    output = run_tool(
        ROOT / 'tools/train.py', config, '--work-dir', run,
        *on(root, 'train_cfg.max_iters=8', 'train_cfg.val_interval=8'),
        env=dict(PYTHONPATH=str(tmp_path)),
    )  # fmt: skip
    assert f'left out: {root}/train/bad.jpg: no picture, or cut off' in output
    assert f'left out: {root}/val/bad.jpg: no picture, or cut off (0 bytes)' in output
    assert "on_bad_pair='skip': 1 of 9 pairs are left out" in output
    assert f'{vanishing} can no longer be used, and others take its place' in output
    assert '1 pairs were left out of this training from its start, and 1 in its course' in output
    assert '1 of 4 pairs are not in the score that follows' in output
    (score,) = [entry for entry in scalars(run) if 'mIoU' in entry]
    assert score['skipped_pairs'] == 1


def test_pairs_that_a_test_left_out_are_counted_beside_its_score(tmp_path):
    (tmp_path / 'val').mkdir()
    save(tmp_path / 'val/1.png')
    (tmp_path / 'val/2.png').write_bytes(b'')
    dataset = build(tmp_path, 'val', on_bad_pair='skip')
    said, metrics = [], dict(mIoU=50.0)
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=dataset),
        logger=SimpleNamespace(warning=said.append),
    )
    BadPairsHook().after_test_epoch(runner, metrics)
    assert metrics['skipped_pairs'] == 1
    assert said == ['1 of 2 pairs are not in the score that follows']


def test_the_limit_of_pixels_is_pillow_s_own(tmp_path, monkeypatch):
    save(tmp_path / '1.png')
    monkeypatch.setattr(pictures.Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(BadPair, match='more than 1000 pixels.*PIL.Image.MAX_IMAGE_PIXELS'):
        read_pair(str(tmp_path / '1.png'))
    monkeypatch.setattr(pictures.Image, 'MAX_IMAGE_PIXELS', None)
    assert read_pair(str(tmp_path / '1.png')).shape == (64, 128, 3)
