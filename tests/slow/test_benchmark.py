"""``python -m benchmarks networks``: half a minute."""


def test_networks_in_every_variant(measure):
    options = ['--config', 'configs/psp_demo.py', '--size', '64x96', '--rounds', '1']
    printed, found = measure('networks', *options, '--onnxruntime')
    rows = {row['form']: row for row in found['rows']}
    for form in ('our head', '+ channels_last', 'our head, onnxruntime', 'stock head, onnxruntime'):
        assert rows[form]['equal'] > 0.999, form
    assert rows['stock head']['speedup'] == [1, 1, 1]
    assert all(f'| {form} |' in printed for form in rows)
