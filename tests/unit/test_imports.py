"""Imports point down the layers of the design, and nothing runs on import but registration."""

import ast
from pathlib import Path

import pytest
from helpers.pairs import ROOT

# From the top down; parts of one line do not import each other but where ALLOWED says so.
LAYERS = [
    {'toolkit'},
    {'apis'},
    {'engine'},
    {'evaluation'},
    {'models', 'datasets'},
    {'labels'},
    {'utils', 'framework', 'version'},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
PACKAGE = ROOT / 'pspnet_plugin'


def imports(path: Path) -> set[str]:
    """Parts of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == 'pspnet_plugin':
                names = [f'pspnet_plugin.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            root, _, rest = name.partition('.')
            if root == 'pspnet_plugin' and rest:
                found.add(rest.partition('.')[0])
            elif root in ('benchmarks', 'tests', 'helpers', 'tools'):
                found.add(root)
    return found


MODULES = sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


@pytest.mark.parametrize('part', sorted(RANK))
def test_imports_point_down(part):
    modules = [
        path for path in MODULES if path.relative_to(PACKAGE).parts[0].partition('.')[0] == part
    ]
    assert modules
    for path in modules:
        for other in imports(path) - {part}:
            assert other in RANK, f'{path} imports {other}'
            assert RANK[other] > RANK[part] or (RANK[other] == RANK[part] == len(LAYERS) - 1), (
                f'{path} imports {other}'
            )


def test_every_part_has_a_layer():
    parts = {path.relative_to(PACKAGE).parts[0].partition('.')[0] for path in MODULES}
    assert parts == RANK.keys()


def test_the_check_sees_what_it_forbids(tmp_path):
    (tmp_path / 'm.py').write_text('def f():\n    from pspnet_plugin.toolkit.web import page\n')
    assert imports(tmp_path / 'm.py') == {'toolkit'}
