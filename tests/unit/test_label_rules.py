"""``benchmarks.label_rules`` reports what decoding gives, by its definitions of the figures."""

import json

import numpy as np

from benchmarks import label_rules
from pspnet_plugin.labels import LabelDecoder


def test_benchmark_reports_what_decoding_gives(tmp_path, capsys, monkeypatch):
    rules = ('nearest, any', 'nearest, 40', 'nearest, 20', 'edge_aware, 0.8')
    monkeypatch.setattr(label_rules, 'RULES', {rule: label_rules.RULES[rule] for rule in rules})
    monkeypatch.setattr(label_rules, 'CONFIDENCES', (0.8,))
    out = tmp_path / 'figures.json'
    assert label_rules.main(['--scenes', '1', '--kinds', 'plan', '--json', str(out)]) == 0
    printed = capsys.readouterr().out
    found = {(f['quality'], f['kind'], f['rule']): f for f in json.loads(out.read_text())}
    assert len(found) == 2 * 2 * len(rules)
    for (_, kind, rule), figures in found.items():
        cells = f'{figures["coverage"]:.4f} | {figures["accuracy"]:.4f}'
        assert kind == 'plan' or f'| {rule} | {cells} |' in printed
    scene = label_rules.SCENES['plan'](np.random.default_rng([label_rules.SEED, 0]))
    truth = label_rules.largest_share(scene.labels, (label_rules.SIZE, label_rules.SIZE))
    right = kept = 0
    for resample in label_rules.SHRINKS.values():
        image = label_rules.render(scene, resample=resample, quality=95)
        labels = LabelDecoder(scene.palette, min_explained=0).decode(image)
        right += ((labels == truth) & (labels != 255)).sum()
        kept += (labels != 255).sum()
    assert found[95, 'all', 'edge_aware, 0.8']['accuracy'] == right / kept


def test_figures_follow_their_definitions():
    counts = label_rules.PixelCounts()
    truth = np.array([[0, 0, 1, 1], [2, 255, 255, 2]], np.uint8)
    labels = np.array([[0, 255, 1, 0], [3, 3, 255, 2]], np.uint8)
    counts.add(labels, truth, (1,))
    assert counts.figures() == dict(coverage=5 / 6, accuracy=3 / 5, phantom=2 / 8, thin_iou=1 / 2)
