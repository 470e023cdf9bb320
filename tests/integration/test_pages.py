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
from helpers.page_commands import PAGES, RULES, Project, blocks, commands
from helpers.pairs import photo


def read(path: str) -> str:
    return Path(path).read_text().strip()


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


def test_the_program_of_a_page_runs(trained, demo_root, tmp_path, monkeypatch):
    found = [block for block in blocks('docs/predict.md', 'python') if 'import' in block]
    assert found
    Project(tmp_path, demo_root, trained)
    cv2.imwrite(str(tmp_path / 'photo.jpg'), photo(64, 96))
    monkeypatch.chdir(tmp_path)
    for block in found:
        exec(compile(block, 'docs/predict.md', 'exec'), {})
    assert [path.name for path in (tmp_path / 'labelled/vis').iterdir()] == ['photo.jpg']
