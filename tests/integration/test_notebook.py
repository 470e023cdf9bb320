"""The notebook runs, cell by cell."""

import nbformat
from helpers.pairs import ROOT
from nbclient import NotebookClient

NOTEBOOK = ROOT / 'demo/quickstart.ipynb'


def test_the_notebook_runs_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setenv('QUICKSTART_MINUTES', '0.45')
    monkeypatch.setenv('QUICKSTART_PAIRS', str(tmp_path / 'pairs'))
    monkeypatch.setenv('QUICKSTART_RUN', str(tmp_path / 'run'))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shorter = {"'--train', 200, '--val', 20": "'--train', 8, '--val', 2", 'reserve=12': 'reserve=0'}
    for old, new in shorter.items():
        (cell,) = (cell for cell in notebook.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
    where = dict(metadata=dict(path=str(ROOT)))
    NotebookClient(notebook, timeout=300, resources=where).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    images = [
        output
        for cell in cells
        for output in cell.outputs
        if {'image/png', 'image/jpeg'} & set(output.get('data', {}))
    ]
    assert len(images) == 8
    assert (tmp_path / 'run/by_onnx/index/1.png').is_file()


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert cells and all(not cell.outputs and cell.execution_count is None for cell in cells)
