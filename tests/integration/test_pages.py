"""Every command that README and docs give is run here, cut short.

A command that no rule of ``page_commands`` knows fails the test.
"""

import re
import shutil
from pathlib import Path

import cv2
import pytest
from helpers.page_commands import PAGES, Project, blocks, new_commands, parse, rule_of
from helpers.pairs import photo


@pytest.fixture
def project(demo_root, trained, tmp_path, monkeypatch) -> Project:
    """The current directory, like a checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    return Project(tmp_path, demo_root, trained)


@pytest.mark.parametrize('page', [page for page in PAGES if new_commands(page)])
def test_the_commands_of_a_page(page, project, request, monkeypatch):
    commands = new_commands(page)
    if page == 'docs/data.md':  # which shows the config; own_photos.md has it written
        config = next(block for block in blocks(page, 'python') if '_base_' in block)
        Path('configs/my_pairs.py').write_text(config)
    if any('.keras' in command for command in commands):
        monkeypatch.setenv('KERAS_BACKEND', 'torch')
        from pspnet_plugin.toolkit.keras.model import build_keras

        build_keras((256, 256)).save('article.keras')
    for command in commands:
        env, words = parse(command)
        for word in words if 'export_onnx' not in command else ():
            if word.endswith('.onnx') and not Path(word).exists():
                shutil.copy(request.getfixturevalue('demo_onnx'), word)
        if words:
            rule_of(words)(project, words, env)
            continue
        for name, value in env.items():  # of export
            value = re.sub(r'\$\(cat (\S+)\)', lambda m: Path(m[1]).read_text().strip(), value)
            monkeypatch.setenv(name, value)
            project.env[name] = value


def test_the_program_of_a_page_runs(project, demo_onnx):
    found = [block for block in blocks('docs/predict.md', 'python') if 'import' in block]
    assert found
    cv2.imwrite('photo.jpg', photo(64, 96))
    shutil.copy(demo_onnx, 'work_dirs/demo.onnx')
    for block in found:
        exec(compile(block, 'docs/predict.md', 'exec'), {})
    assert [path.name for path in Path('labelled/vis').iterdir()] == ['photo.jpg']
