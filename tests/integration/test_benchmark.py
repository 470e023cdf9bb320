"""The benchmark: figures that can be known beforehand come out, and the commands run."""

import json

import cv2
import pytest
import torch
import torch.nn.functional as F
from helpers.pairs import ROOT, photo, write_pair
from mmseg.models.decode_heads import PSPHead

from benchmarks import __main__ as benchmark
from benchmarks.networks import build_networks
from benchmarks.timing import (
    measure_machine,
    multiply_adds,
    peak_bytes,
    ratio,
    take_turns,
)
from pspnet_plugin.labels import LabelDecoder
from pspnet_plugin.models import FastPSPHead

main = benchmark.main


def test_ways_take_turns_and_the_first_run_does_not_count():
    calls = []
    seconds = take_turns(dict(a=lambda: calls.append('a'), b=lambda: calls.append('b')), rounds=3)
    assert calls == ['a', 'b'] + ['a', 'b'] * 3
    assert {name: len(times) for name, times in seconds.items()} == dict(a=3, b=3)


def test_ratios_are_taken_within_a_round():
    assert ratio([2, 6, 4], [1, 2, 4]) == (2, 1, 3)


def test_multiply_adds_of_a_convolution():
    x, weight = torch.randn(2, 3, 10, 12), torch.randn(5, 3, 3, 3)
    assert multiply_adds(lambda: F.conv2d(x, weight, padding=1)) == 2 * 5 * 3 * 9 * 10 * 12


def test_multiply_adds_of_products_that_are_added_in_place():
    a, b = torch.ones(4, 2, 3), torch.ones(4, 3, 5)
    assert multiply_adds(lambda: torch.zeros(4, 2, 5).baddbmm_(a, b)) == 4 * 2 * 3 * 5
    assert multiply_adds(lambda: torch.zeros(2, 5).addmm_(a[0], b[0], beta=0)) == 2 * 3 * 5


def test_peak_is_of_what_lives_at_once():
    x = torch.zeros(1000)

    def function():
        a = x + 1  # 4000 bytes
        b = a.double()  # 8000 more
        del a
        a = b.view(-1)[:10] * 1  # 80 more, after 4000 less; the view is nothing
        return a.sum()

    assert peak_bytes(function) == 12000
    weight = torch.zeros(1000, requires_grad=True)
    assert peak_bytes(lambda: (weight * weight).sum().backward()) >= 2 * 4000


def test_a_machine_has_a_speed():
    machine = measure_machine()
    assert 1e-5 < machine.floor(10**9) < 10  # seconds
    assert machine.bytes > 1e8


def test_heads_are_measured_and_written_down(tmp_path, capsys):
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


def test_what_is_compared_is_the_stock_head_and_ours():
    stock, ours = build_networks(str(ROOT / 'configs' / 'psp_demo.py'))
    assert type(stock.decode_head) is PSPHead and type(ours.decode_head) is FastPSPHead
    theirs = stock.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.state_dict().items())


def test_networks_are_measured_in_every_form(tmp_path, capsys):
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


def test_the_article_is_measured_against_keras(tmp_path, capsys):
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
    # Keras computes the same products, and holds more beside them, also of a picture this small.
    assert rows[5]['multiply_adds'] == pytest.approx(rows[4]['multiply_adds'], rel=0.05)
    assert rows[5]['memory'] < 0.9
    assert '| training | ours |' in capsys.readouterr().out


def test_loading_is_measured_against_decoding(demo_root, monkeypatch, capsys):
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
    ('arguments', 'message'),
    [
        (['loader', '--data-root', 'none'], 'is missing'),
        (['heads', '--json', 'none/x.json'], 'there is no such folder'),
        (['networks', '--config', 'none.py'], 'none.py'),
        (['heads', '--tf32'], '--tf32 is for --device cuda'),
        (['networks', '--config', 'configs/psp_article_cityscapes_pairs.py'], 'is WindowPSPHead'),
        (['keras', '--config', 'configs/psp_article_cityscapes_pairs.py'], 'is WindowPSPHead'),
        (['keras', '--size', '30x30'], 'do not divide'),
    ],
    ids=['no set', 'no folder', 'no config', 'tf32', 'no counterpart', 'no painter', 'size'],
)
def test_bad_arguments_end_in_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_single_pair_is_refused(tmp_path, capsys):
    write_pair(tmp_path / 'one' / 'val' / '1.jpg')
    assert main(['loader', '--data-root', str(tmp_path / 'one')]) == 2
    assert '1 pair to load' in capsys.readouterr().err


def test_predicting_is_measured_from_files_to_files(trained, tmp_path, capsys):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), photo(64, 64 if i else 96, seed=i))
    out = tmp_path / 'figures.json'
    network = [
        '--config',
        str(trained / 'psp_demo.py'),
        '--checkpoint',
        str(trained / 'iter_2.pth'),
    ]
    options = ['--rounds', '2', '--batch', '2', '--json', str(out)]
    assert main(['predict', str(tmp_path), *network, *options]) == 0
    (row,) = json.loads(out.read_text())['rows']
    assert row['pictures'] == 3
    median, lowest, highest = row['speed']
    assert 0 < lowest <= median <= highest
    assert row['memory'][-1][0] == 1 and row['memory'][-1][1] > 2**20
    assert '| 3 |' in capsys.readouterr().out
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ['.json', '.png', '.png', '.png']
