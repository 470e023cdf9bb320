"""``python -m benchmarks``: each part measures, prints and writes its figures."""

import cv2
import pytest
import torch
from helpers.pairs import ROOT, photo, write_pair

from benchmarks.__main__ import main
from pspnet_plugin.datasets.pair_backends import label_cache
from pspnet_plugin.labels import LabelDecoder


def test_heads(measure):
    printed, found = measure('heads', '--only', 'r18', '--map', '8x8', '32x24', '--rounds', '2')
    assert [(r['head'], r['map'], r['what']) for r in found['rows']] == [
        ('r18', f'{batch}x{size}', what)
        for size in ('8x8', '32x24')
        for batch, what in ((1, 'forward'), (2, 'training'))
    ]
    for row in found['rows']:
        assert f'| {row["head"]} | {row["map"]} | {row["what"]} |' in printed
        assert f'{row["speedup"][0]:.2f} (' in printed
        assert row['what'] == 'training' or row['difference'] < 1e-5
    small, large = (found['rows'][i]['multiply_adds'] for i in (0, 2))
    assert small['ours'] <= 1.05 * small['stock'] and large['ours'] < 0.7 * large['stock']
    assert found['rows'][3]['memory'] < 0.8
    assert found['about']['torch'] == torch.__version__


def test_speeds_of_networks_in_several_forms(measure, tmp_path):
    configs = [f'configs/psp_{name}_cityscapes_pairs.py' for name in ('small', 'r18-d8')]
    options = ['--forms', 'float32', 'bfloat16', '--size', '64x96', '64x64', '--rounds', '2']
    figure = tmp_path / 'front.png'
    printed, found = measure('speeds', *configs, *options, '--figure', str(figure))
    rows = found['rows']
    assert [(row['config'], row['what']) for row in rows] == 2 * [
        (config, form) for config in configs for form in ('float32', 'bfloat16')
    ]
    small, _, other, _ = rows[:4]
    assert small['parameters'] > 10**5 and small['multiply_adds'] < other['multiply_adds']
    assert 30 < other['miou'] < small['miou'] < 60  # of the kept results
    assert f'| {small["parameters"] / 1e6:.2f} |' in printed
    for row in rows:
        assert row['images'] == pytest.approx(1 / row['seconds'])
        assert f'| {row["images"]:.1f} |' in printed
    assert 'one image of 64x64' in printed and cv2.imread(str(figure)) is not None


def test_speeds_as_files(measure):
    forms = ['onnxruntime', 'int8', 'openvino', 'openvino-bfloat16']
    config = 'configs/psp_small_cityscapes_pairs.py'
    printed, found = measure(
        'speeds', config, '--size', '64x96', '--rounds', '1', '--forms', *forms
    )
    assert [row['what'] for row in found['rows']] == forms
    assert all(row['multiply_adds'] is None and row['images'] > 0 for row in found['rows'])
    assert f'| {config} | int8 |' in printed


def test_article_beside_keras(measure):
    printed, found = measure('keras', '--size', '32x32', '--batch', '1', '--rounds', '1')
    rows = found['rows']
    assert [(row['what'], row['form']) for row in rows] == [
        *(('inference', form) for form in ('Keras', 'ours', '+ fused', '+ bfloat16')),
        *(('training', form) for form in ('Keras', 'ours')),
    ]
    for row in rows[1:3]:
        assert 0 < row['difference'] < 1e-4 and row['equal'] > 0.99
    # Keras computes the same products, and holds more beside them, also for an image this small.
    assert rows[5]['multiply_adds'] == pytest.approx(rows[4]['multiply_adds'], rel=0.05)
    assert rows[5]['memory'] < 0.9
    assert '| training | ours |' in printed


def test_loader_beside_decoding(measure, demo_root, monkeypatch):
    label_cache.clear()  # of other tests
    decoded = []
    decode = LabelDecoder.decode
    monkeypatch.setattr(LabelDecoder, 'decode', lambda *args: decoded.append(1) or decode(*args))
    options = ['--data-root', str(demo_root), '--split', 'train', '--rounds', '2']
    printed, _ = measure('loader', *options)
    for cell in ('imdecode', 'edge_aware, virtual files', '1.00 (1.00 to 1.00)'):
        assert f'| {cell} |' in printed
    pairs, passes, rules, variants = 8, 3, 2, 2  # a pass goes first, uncounted
    assert len(decoded) - rules == pairs * passes * rules * variants, 'nothing comes from a cache'


def test_listing_of_large_sets(measure):
    printed, found = measure('listing', '--pairs', '40', '10100', '--rounds', '1')
    small, large = found['rows']
    assert (small['pairs'], large['pairs']) == (40, 10100) and '| 10,100 |' in printed
    assert large['record'] < 30 and large['open'] > 0 and large['first'] > 0


def test_samples_a_second_of_loader_processes(measure, demo_root, monkeypatch):
    monkeypatch.setenv('PAIRS_ROOT', str(demo_root))
    printed, found = measure('workers', '--workers', '1', '2', '--batches', '2', '--rounds', '1')
    assert [row['workers'] for row in found['rows']] == [1, 2] and '| 2 |' in printed
    assert all(row['samples'] > 0 for row in found['rows'])


def test_predicting_from_files_to_files(measure, network, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f'{i}.png'), photo(64, 64 if i else 96, seed=i))
    printed, found = measure('predict', str(folder), *network, '--rounds', '2', '--batch', '2')
    (row,) = found['rows']
    median, lowest, highest = row['speed']
    assert 0 < lowest <= median <= highest
    assert row['memory'][-1][0] == 1 and row['memory'][-1][1] > 2**20
    assert row['pictures'] == 3 and '| 3 |' in printed
    assert [path.suffix for path in folder.iterdir()] == ['.png'] * 3


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['loader', '--data-root', 'none'], 'none'),
        (['heads', '--json', 'none/x.json'], 'none/x.json'),
        (['networks', '--config', 'none.py'], 'none.py'),
        (['heads', '--tf32'], '--tf32'),
        (['networks', '--config', 'configs/psp_article_cityscapes_pairs.py'], 'WindowPSPHead'),
        (['keras', '--config', 'configs/psp_article_cityscapes_pairs.py'], 'WindowPSPHead'),
        (['keras', '--size', '30x30'], '30'),
    ],
    ids=['no set', 'no folder', 'no config', 'tf32', 'no counterpart', 'no painter', 'size'],
)
def test_bad_arguments_are_named(arguments, named, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_single_pair_is_refused(tmp_path, capsys):
    write_pair(tmp_path / 'val/1.jpg')
    assert main(['loader', '--data-root', str(tmp_path)]) == 2
    assert str(tmp_path / 'val') in capsys.readouterr().err
