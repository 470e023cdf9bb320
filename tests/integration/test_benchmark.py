"""``python -m benchmarks``: each part measures, prints and writes its figures."""

import json

import cv2
import pytest
import torch
from helpers.pairs import ROOT, photo, write_pair

from benchmarks.__main__ import main
from pspnet_plugin.labels import LabelDecoder


def test_heads(tmp_path, capsys):
    out = tmp_path / 'heads.json'
    options = ['--only', 'r18', '--map', '8x8', '32x24', '--rounds', '2']
    assert main(['heads', *options, '--json', str(out)]) == 0
    found = json.loads(out.read_text())
    printed = capsys.readouterr().out
    assert [(r['head'], r['map'], r['what']) for r in found['rows']] == [
        ('r18', f'{batch}x{size}', what)
        for size in ('8x8', '32x24')
        for batch, what in ((1, 'forward'), (2, 'training'))
    ]
    for row in found['rows']:
        assert f'| {row["head"]} | {row["map"]} | {row["what"]} |' in printed
        assert f'{row["speedup"][0]:.2f} (' in printed
        if row['what'] == 'forward':
            assert row['difference'] < 1e-5
    small, large = (found['rows'][i]['multiply_adds'] for i in (0, 2))
    assert small['ours'] <= 1.05 * small['stock'] and large['ours'] < 0.7 * large['stock']
    assert found['rows'][3]['memory'] < 0.8
    assert found['about']['torch'] == torch.__version__


def test_networks_in_every_variant(tmp_path, capsys):
    out = tmp_path / 'networks.json'
    config = ROOT / 'configs' / 'psp_demo.py'
    options = ['--config', str(config), '--size', '64x96', '--rounds', '1', '--json', str(out)]
    assert main(['networks', *options, '--onnxruntime']) == 0
    rows = {row['form']: row for row in json.loads(out.read_text())['rows']}
    for form in ('our head', '+ channels_last', 'our head, onnxruntime', 'stock head, onnxruntime'):
        assert rows[form]['equal'] > 0.999, form
    assert rows['stock head']['speedup'] == [1, 1, 1]
    printed = capsys.readouterr().out
    assert all(f'| {form} |' in printed for form in rows)


def test_article_beside_keras(tmp_path, capsys):
    out = tmp_path / 'keras.json'
    config = ROOT / 'configs' / 'psp_article-rgb_cityscapes_pairs.py'
    options = ['--config', str(config), '--size', '32x32', '--batch', '1', '--rounds', '1']
    assert main(['keras', *options, '--json', str(out)]) == 0
    rows = json.loads(out.read_text())['rows']
    assert [(row['what'], row['form']) for row in rows] == [
        *(('inference', form) for form in ('Keras', 'ours', '+ fused', '+ bfloat16')),
        *(('training', form) for form in ('Keras', 'ours')),
    ]
    for row in rows[1:3]:
        assert 0 < row['difference'] < 1e-4 and row['equal'] > 0.99
    # Keras computes the same products, and holds more beside them, also for an image this small.
    assert rows[5]['multiply_adds'] == pytest.approx(rows[4]['multiply_adds'], rel=0.05)
    assert rows[5]['memory'] < 0.9
    assert '| training | ours |' in capsys.readouterr().out


def test_loader_beside_decoding(demo_root, monkeypatch, capsys):
    decoded = []
    decode = LabelDecoder.decode
    monkeypatch.setattr(LabelDecoder, 'decode', lambda *args: decoded.append(1) or decode(*args))
    options = ['--data-root', str(demo_root), '--split', 'train', '--rounds', '2']
    assert main(['loader', *options]) == 0
    printed = capsys.readouterr().out
    assert '| imdecode |' in printed and '| edge_aware, virtual files |' in printed
    assert '| 1.00 (1.00 to 1.00) |' in printed
    pairs, passes, rules, ways = 8, 3, 2, 2  # a pass goes first, uncounted
    assert len(decoded) - rules == pairs * passes * rules * ways, 'nothing comes from a cache'


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
    write_pair(tmp_path / 'one' / 'val' / '1.jpg')
    assert main(['loader', '--data-root', str(tmp_path / 'one')]) == 2
    assert str(tmp_path / 'one/val') in capsys.readouterr().err


def test_predicting_from_files_to_files(network, tmp_path, capsys):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), photo(64, 64 if i else 96, seed=i))
    out = tmp_path / 'figures.json'
    options = ['--rounds', '2', '--batch', '2', '--json', str(out)]
    assert main(['predict', str(tmp_path), *network, *options]) == 0
    (row,) = json.loads(out.read_text())['rows']
    assert row['pictures'] == 3
    median, lowest, highest = row['speed']
    assert 0 < lowest <= median <= highest
    assert row['memory'][-1][0] == 1 and row['memory'][-1][1] > 2**20
    assert '| 3 |' in capsys.readouterr().out
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ['.json', '.png', '.png', '.png']
