"""Every command that README and docs give is run here, cut short.

Read from the pages' ``bash`` blocks. A command that no rule of ``page_commands`` knows fails the
test.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
from helpers.page_commands import RULES, Project, blocks
from helpers.pairs import ROOT, photo
from mmengine.config import Config
from mmseg.registry import METRICS, MODELS

PAGES = [
    'README.md',
    'CONTRIBUTING.md',
    *(f'docs/{p.name}' for p in sorted(ROOT.glob('docs/*.md'))),
]


def read(path: str) -> str:
    return Path(path).read_text().strip()


def commands(page: str) -> list[str]:
    """Without comments, a command a line."""
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def has_run(line: str, page: str) -> bool:
    """Whether an earlier page has the same command, and nothing after it depends on it."""
    alone = (
        r'(train\.py \S+cpu25|test|predict|web_demo|analysis_tools/report|deployment/export_onnx)'
    )
    if not re.match(rf'make |pip |tools/|python tools/{alone}', line):
        return False
    minutes = r' --cfg-options train_cfg.minutes=\d+$'  # one clock or the other
    before = [other for name in PAGES[: PAGES.index(page)] for other in commands(name)]
    line, *before = [' '.join(re.sub(r'\s#.*', '', one).split()) for one in (line, *before)]
    return re.sub(minutes, '', line) in before


@pytest.mark.slow
@pytest.mark.parametrize('page', PAGES)
def test_the_commands_of_a_page(page, demo_root, trained, request, tmp_path, monkeypatch):
    todo = [line for line in commands(page) if not has_run(line, page)]
    if not todo:
        assert page not in ('README.md', 'docs/train.md', 'docs/predict.md', 'docs/data.md')
        return
    project = Project(tmp_path, demo_root, trained, page=page)
    if page != 'README.md' and any('demo.onnx' in line for line in todo):  # written there
        shutil.copy(request.getfixturevalue('demo_onnx'), tmp_path / 'work_dirs/demo.onnx')
    if any('.keras' in line for line in todo):
        monkeypatch.setenv('KERAS_BACKEND', 'torch')
        from pspnet_plugin.toolkit.keras.model import build_keras

        build_keras((256, 256)).save(tmp_path / 'article.keras')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    for line in todo:
        words = [os.path.expandvars(word) for word in shlex.split(line, comments=True)]
        words = [re.sub(r'\$\(cat (\S+)\)', lambda m: read(m[1]), word) for word in words]
        env = {}
        if words[0] == 'export':
            name, _, value = words[1].partition('=')
            monkeypatch.setenv(name, value)
            project.env[name] = value
            continue
        while re.fullmatch(r'[A-Z_]+=.*', words[0]):
            name, _, value = words.pop(0).partition('=')
            env[name] = value
        text = ' '.join(words)
        rule = next((rule for pattern, rule in RULES if re.match(pattern, text)), None)
        assert rule, f'{page}: no rule runs {line!r}'
        rule(project, words, env)


@pytest.mark.slow
def test_the_program_of_a_page_runs(trained, demo_root, tmp_path, monkeypatch):
    found = [block for block in blocks('docs/predict.md', 'python') if 'import' in block]
    assert found
    Project(tmp_path, demo_root, trained)
    cv2.imwrite(str(tmp_path / 'photo.jpg'), photo(64, 96))
    monkeypatch.chdir(tmp_path)
    for block in found:
        exec(compile(block, 'docs/predict.md', 'exec'), {})
    assert [path.name for path in (tmp_path / 'labelled/vis').iterdir()] == ['photo.jpg']


def test_the_pages_have_commands():
    assert sum(len(commands(page)) for page in PAGES) > 50


@pytest.mark.parametrize('page', ['docs/data.md', 'docs/mixing.md'])
def test_the_configs_of_a_page_build(page, tmp_path, monkeypatch):
    import mmseg

    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    found = [block for block in blocks(page, 'python') if '_base_' in block]
    assert found
    for block in found:
        block = block.replace('path/to/mmseg/.mim', f'{Path(mmseg.__file__).parent}/.mim')
        path = tmp_path / 'configs/of_the_page.py'
        path.write_text(block)
        config = Config.fromfile(path)
        model = MODELS.build({**config.model, 'pretrained': None})
        assert type(model.decode_head).__name__ == 'FastPSPHead'
        assert config.train_dataloader.dataset.type in ('PairsDataset', 'CityscapesPairsDataset')
        assert config.val_dataloader.dataset.data_prefix.img_path == 'val'
        assert METRICS.build(config.val_evaluator)


@pytest.mark.parametrize('page', PAGES)
def test_the_links_of_a_page_lead_somewhere(page):
    text = re.sub(r'```.*?```', '', (ROOT / page).read_text(), flags=re.S)
    for target in re.findall(r'\]\(([^)]+)\)', text):
        if target.startswith('http'):
            continue
        path, _, anchor = target.partition('#')
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f'{page}: {target}'
        if anchor:
            titles = re.findall(r'^#+ (.+)$', file.read_text(), re.M)
            slugs = [re.sub(r'[^\w -]', '', t).lower().replace(' ', '-') for t in titles]
            assert anchor in slugs, f'{page}: {target}'
