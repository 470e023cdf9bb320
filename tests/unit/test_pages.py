"""Commands, configs and links of README and docs; integration tests run the commands."""

import re
import shutil
from pathlib import Path

import mmseg
import pytest
from helpers.page_commands import (
    PAGES,
    blocks,
    commands,
    named_program,
    new_commands,
    parse,
    rule_of,
)
from helpers.pairs import ROOT
from mmengine.config import Config
from mmseg.registry import METRICS, MODELS


@pytest.mark.parametrize('page', PAGES)
def test_commands_are_known_and_their_options_exist(page):
    for command in commands(page):
        _, words = parse(command)
        if not words:
            continue
        text = ' '.join(words)
        assert rule_of(words), f'{page}: {command}'
        if re.match(r'python tools/(train|test)\.py |tools/(dist|slurm)_', text):
            configs = [word for word in words if word.startswith('configs/')]
            known = [(ROOT / path).is_file() or path == 'configs/my_pairs.py' for path in configs]
            assert (known and all(known)) or 'CONFIG' in words, f'{page}: {command}'
        elif re.match(r'python (tools/|-m benchmarks)', text):
            program, arguments = named_program(words)
            assert program.parse_args(arguments)


def test_the_pages_have_commands():
    assert sum(len(commands(page)) for page in PAGES) > 50


@pytest.mark.parametrize('page', ['README.md', 'docs/own_photos.md'])
def test_integration_tests_run_every_program_of_a_page(page):
    new = {
        parse(command)[1][1]
        for name in PAGES
        for command in new_commands(name)
        if parse(command)[1]
    }
    programs = re.findall(r'python (tools/\S+)', '\n'.join(commands(page)))
    assert len(programs) > 5 and set(programs) <= new


@pytest.mark.parametrize('page', ['docs/data.md', 'docs/mixing.md', 'docs/transfer.md'])
def test_the_configs_of_a_page_build(page, tmp_path):
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
        train = config.train_dataloader.dataset
        train = train.get('dataset', train)  # within a wrapper
        assert train.type in ('PairsDataset', 'CityscapesPairsDataset')
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


@pytest.mark.parametrize('page', PAGES)
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    folders = 'pspnet_plugin|benchmarks|configs|docs|tests|tools'
    for path in re.findall(rf'`((?:{folders})/[\w./-]+)`', text):
        assert (ROOT / path).exists() or 'my_' in path, f'{page}: {path}'
    for name in re.findall(r'\btest_\w+\.py\b', text):
        assert [*ROOT.glob(f'tests/*/{name}')], f'{page}: {name}'
    parts = 'apis|datasets|engine|evaluation|labels|models|toolkit|utils'
    for path in re.findall(rf'(?<![\w/])(?:{parts})/[\w/]+\.py\b', text):
        assert (ROOT / 'pspnet_plugin' / path).is_file(), f'{page}: {path}'
