"""How each command that the pages give is run in a test, in a folder like a checkout.

Trainings are cut short, counts of GPUs become two processes, and placeholders become files; what
cannot be run is checked otherwise, see ``RULES``.
"""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from helpers.label_files import maps, save, write_photos
from helpers.pairs import META, ROOT, photo
from helpers.programs import SHORT, free_port, load_tool
from helpers.warm_processes import run_warm

CLOCK = ['train_cfg.minutes=0.3', 'train_cfg.reserve=3']
# Options that make a command short; the later one counts.
SHORTER = {
    'make_pairs.py synthetic': ['--train', '2', '--val', '1'],
    'label_rules.py': ['--scenes', '1', '--kinds', 'plan'],
    '__main__.py heads': ['--only', 'r18', '--map', '32x32', '--rounds', '1'],
}


PAGES = [
    'README.md',
    'CONTRIBUTING.md',
    *(f'docs/{p.name}' for p in sorted(ROOT.glob('docs/*.md'))),
]


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf'^```{language}\n(.*?)^```', (ROOT / page).read_text(), re.S | re.M)


def commands(page: str) -> list[str]:
    """Return the commands of a page, one a line, without lines that are comments."""
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


class Project:
    """A folder like a checkout in which ``make demo`` was run, with small data."""

    def __init__(self, folder: Path, pairs: Path, trained: Path, *, page: str = '') -> None:
        self.folder = folder
        self.env = {
            **os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1', 'PATH': f'{folder}/bin:{os.environ["PATH"]}',
        }  # fmt: skip
        for name in ('pspnet_plugin', 'benchmarks', 'tools', 'docs', 'tests'):
            (folder / name).symlink_to(ROOT / name)
        for name in ('constraints.txt', 'Makefile', 'pyproject.toml', 'setup.py', 'noxfile.py'):
            (folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / 'configs', folder / 'configs')
        for place in ('data/demo_pairs', 'data/cityscapes_pairs', 'path/to/pairs'):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).symlink_to(pairs)
        for run in ('psp_demo', 'other'):
            shutil.copytree(trained, folder / 'work_dirs' / run)
        shutil.copy(trained / 'iter_2.pth', folder / 'work_dirs/psp_demo/iter_600.pth')
        self._make_labels()
        write_photos(folder / 'my_photos', {**maps(2), 'one': maps(1)['train/0']})
        if page != 'docs/own_photos.md':  # which writes its own
            own = next(block for block in blocks('docs/data.md', 'python') if '_base_' in block)
            (folder / 'configs/my_pairs.py').write_text(own)
        (folder / 'bin').mkdir()
        srun = folder / 'bin/srun'
        srun.write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n')
        srun.chmod(0o755)

    def _make_labels(self) -> None:
        """Photos and maps of a palette of one's own, and the official archives' layout."""
        labels = maps(3)
        write_photos(self.folder / 'photos', labels)
        for name, values in labels.items():
            save(self.folder / f'labels/{name}.png', values)
        (self.folder / 'my.json').write_text(str(META).replace("'", '"'))
        for split in ('train', 'val'):
            stem = f'{split}/ulm/ulm_000000_000019'
            for place, picture in (
                (f'leftImg8bit/{stem}_leftImg8bit.png', photo(64, 128)),
                (f'gtFine/{stem}_gtFine_labelIds.png', np.full((64, 128), 7, np.uint8)),
            ):
                path = self.folder / 'data/cityscapes' / place
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)

    def run(self, words: list[str], *, env: dict[str, str] | None = None) -> str:
        """A command in a process of its own, from this folder."""
        env = {**self.env, **(env or {})}
        if words[0] == sys.executable and words[1].endswith('.py'):
            status, output = run_warm(words[1:], cwd=self.folder, env=env)
        else:
            done = subprocess.run(
                words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=400
            )
            status, output = done.returncode, done.stdout + done.stderr
        assert status == 0, f'{shlex.join(words)}: {status}\n{output[-5000:]}'
        return output

    def checkpoint(self, path: str) -> str:
        """A checkpoint under the name that a page gives it, which a short run does not make."""
        file = self.folder / path
        if path == 'CHECKPOINT':  # of what the page has trained
            return (self.folder / 'work_dirs/psp_cityscapes_pairs/last_checkpoint').read_text()
        if not file.exists() and (pointer := file.parent / 'last_checkpoint').is_file():
            shutil.copy(pointer.read_text().strip(), file)
        return path


def named_program(words: list[str]) -> tuple[ModuleType, list[str]]:
    """The program that a command starts, as a module, and its arguments."""
    if words[1] == '-m':
        name = words[2] if '.' in words[2] else f'{words[2]}.__main__'
        return importlib.import_module(name), words[3:]
    return load_tool('/'.join(Path(words[1]).parts[1:])), words[2:]


def in_process(project: Project, words: list[str], env: dict) -> None:
    """A tool of ours that computes by itself."""
    program, arguments = named_program(words)
    for key, options in SHORTER.items():
        if f'{Path(program.__file__).name} {" ".join(arguments)}'.startswith(key):
            arguments = [*arguments, *options]
    assert program.main(arguments) in (0, None)


def parsed(project: Project, words: list[str], env: dict) -> None:
    """What takes minutes is run by its own tests; here its options are understood."""
    program, arguments = named_program(words)
    assert program.parse_args(arguments)


def shortened(words: list[str]) -> list[str]:
    """A training or test of two iterations, or of seconds, with two pictures a batch."""
    text = ' '.join(words)
    by_clock = any(word in text for word in ('cpu25', 'my_pairs', 'ClockTrainLoop'))
    options = [o for o in SHORT if not (by_clock and o.startswith('train_cfg.'))]
    options += CLOCK if by_clock else []
    without = [w.partition('=')[0] for w in words if w.endswith('=None')]
    options = [o for o in options if o.partition('.')[0] not in without]
    start = [] if '--cfg-options' in words else ['--cfg-options']
    if '--cfg-options' in words:  # its values end where the next option starts
        at = words.index('--cfg-options') + 1
        while at < len(words) and not words[at].startswith('-'):
            at += 1
        return [*words[:at], *options, *words[at:]]
    return [*words, *start, *options]


def trains(project: Project, words: list[str], env: dict) -> None:
    words = ['configs/psp_demo.py' if word == 'CONFIG' else word for word in words]
    words = [project.checkpoint(w) if w.endswith(('.pth', 'CHECKPOINT')) else w for w in words]
    project.run([sys.executable, *shortened(words)[1:]], env=env)


def distributes(project: Project, words: list[str], env: dict) -> None:
    """A plain training for real; of the others, a stand-in for python says what it was given.

    What processes do then is for ``test_distributed.py``.
    """
    if words[0].endswith('dist_test.sh') or env:
        said = project.run(words, env={**env, 'PYTHON': str(project.folder / 'bin/srun')})
        assert Path(re.search(r'\[(/\S+\.py)\]', said)[1]).is_file()
        assert '[torch.distributed.run]' in said and '[--nproc_per_node=8]' in said
        assert f'[--nnodes={env.get("NNODES", 1)}]' in said
        assert all(value in said for value in env.values())
        return
    words[words.index('8')] = '2'
    said = project.run(shortened(words), env={'PORT': free_port()})
    assert 'Distributed training: True' in said
    assert re.search(r'mIoU: +[\d.]+', said)


def schedules(project: Project, words: list[str], env: dict) -> None:
    """A stand-in for srun says what it was given."""
    said = project.run(words, env=env)
    program = re.search(r'\[(/\S+\.py)\]', said)[1]
    assert Path(program).name in ('train.py', 'test.py') and Path(program).is_file()
    assert f'[--ntasks={env["GPUS"]}]' in said and f'[{words[3]}]' in said


def serves(project: Project, words: list[str], env: dict) -> None:
    command = [sys.executable, *words[1:], '--port', free_port()]
    server = subprocess.Popen(
        command, cwd=project.folder, env=project.env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        found = (re.search(r'Open (http://127\.0\.0\.1:\d+)', line) for line in server.stdout)
        address = next(filter(None, found))[1]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert 's by class' in answer.read().decode()
    finally:
        server.terminate()
        server.wait(timeout=20)


def makes(project: Project, words: list[str], env: dict) -> None:
    """What a target would do, without doing it."""
    assert project.run(['make', '-n', *words[1:], f'VENV={project.folder}/new'])


def installs(project: Project, words: list[str], env: dict) -> None:
    extras = metadata('pspnet-plugin').get_all('Provides-Extra')
    named = [re.fullmatch(r'\.\[([\w,]+)\]', word) for word in words]
    asked = [extra for match in named if match for extra in match[1].split(',')]
    assert asked and set(asked) <= set(extras)
    assert (ROOT / words[words.index('-c') + 1]).is_file()


def dry(project: Project, words: list[str], env: dict) -> None:
    words = ['choices' if w == 'GROUP' else 'starting point' if w == 'LABEL' else w for w in words]
    said = project.run([sys.executable, *words[1:], '--dry-run'])
    assert 'python tools/train.py' in said


def computes(project: Project, words: list[str], env: dict) -> None:
    project.run([sys.executable, *words[1:]])


def known(project: Project, words: list[str], env: dict) -> None:
    """It sets up a shell or a checkout; its file or program is there."""
    last = words[-1]
    assert words[0] == 'source' or words[0].startswith('.venv/bin/'), words
    assert last in ('.venv/bin/activate', 'install') or (ROOT / last).is_file()


RULES: list[tuple[str, Callable]] = [
    (r'make ', makes),
    (r'pip install ', installs),
    (r'(source \.venv|\.venv/bin/)', known),
    (r'python -c ', computes),
    (r'python tools/(train|test)\.py ', trains),
    (r'tools/dist_(train|test)\.sh ', distributes),
    (r'tools/slurm_(train|test)\.sh ', schedules),
    (r'python tools/web_demo\.py ', serves),
    (r'python -m benchmarks\.run_group ', dry),
    (r'python -m benchmarks (networks|keras|loader|predict)', parsed),
    (r'python (tools/|-m benchmarks)', in_process),
]
