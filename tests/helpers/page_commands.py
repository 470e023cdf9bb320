"""Commands of README and docs, run by tests in a directory like a checkout.

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

PAGES = [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    *(f'docs/{p.name}' for p in sorted(ROOT.glob('docs/*.md'))),
]
BY_CLOCK = ['train_cfg.minutes=0.4', 'train_cfg.reserve=0']
HAS_TIME_LIMIT = re.compile('train.py .*(cpu25|my_pairs)')
BY_ITERATIONS = ['train_cfg._delete_=True', 'train_cfg.type=ResumableTrainLoop']
SMALL_CROPS = [
    'train_dataloader.dataset.pipeline.2.crop_size=(64,64)', 'model.data_preprocessor.size=(64,64)'
]  # fmt: skip
# Options that make a command short; the later one counts.
SHORTER = {
    'make_pairs.py synthetic': ['--train', '2', '--val', '1'],
    'label_rules.py': ['--scenes', '1', '--kinds', 'plan'],
}
# Commands on which no later one of the page depends; a training only if it is the same.
ALONE = (
    r'make |pip |tools/|python tools/(train\.py \S+cpu25|test|predict|web_demo|analysis_tools|'
    r'deployment)'
)


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf'^```{language}\n(.*?)^```', (ROOT / page).read_text(), re.S | re.M)


def commands(page: str) -> list[str]:
    """Return the commands of a page, one a line, without comments."""
    lines = '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines()
    return [command for line in lines if (command := re.sub(r'(^|\s+)#.*', '', line).strip())]


def parse(command: str) -> tuple[dict[str, str], list[str]]:
    """Split a command into the variables that it sets and its words, none after ``export``."""
    words = [os.path.expandvars(word) for word in shlex.split(command.removeprefix('export '))]
    env = {}
    while words and re.match('[A-Z_]+=', words[0]):
        name, _, env[name] = words.pop(0).partition('=')
    return env, words


def new_commands(page: str) -> list[str]:
    """Return the commands of a page that differ from earlier ones in more than files."""
    earlier, new = set(), []
    for name in PAGES[: PAGES.index(page) + 1]:
        for command in commands(name):
            form = _form(command)
            if name == page and (form not in earlier or not re.match(ALONE, command)):
                new.append(command)
            earlier.add(form)
    return new


def _form(command: str) -> str:
    """Return what a tool does: its options without the files; a training's with its config."""
    program = re.match(r'python tools/(?!train)\S+', command)
    if program:
        return ' '.join([program[0], *sorted(re.findall(r'--\S+', command))])
    return re.sub(r' --cfg-options train_cfg.minutes=\d+$', '', command)


class Project:
    """A directory like a checkout in which ``make demo`` was run, with small data."""

    def __init__(self, folder: Path, pairs: Path, trained: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ, 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1', 'PATH': f'{folder}/bin:{os.environ["PATH"]}',
        }  # fmt: skip
        shared = (
            'pspnet_plugin benchmarks tools docs tests weights constraints.txt Makefile noxfile.py'
        )
        for name in [*shared.split(), 'pyproject.toml', 'setup.py']:
            (folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / 'configs', folder / 'configs')
        for place in ('data/demo_pairs', 'data/cityscapes_pairs', 'path/to/pairs'):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).symlink_to(pairs)
        for run in ('psp_demo', 'other'):
            shutil.copytree(trained, folder / 'work_dirs' / run)
        shutil.copy(trained / 'iter_2.pth', folder / 'work_dirs/psp_demo/iter_600.pth')
        labels = maps(3)
        write_photos(folder / 'photos', labels)
        for name, values in labels.items():
            save(folder / f'labels/{name}.png', values)
            save(folder / f'export/{name}_mask.png', values)
        write_photos(folder / 'export', labels)
        listed = ''.join(f'{i}, {name}\n' for i, name in enumerate(META['classes']))
        (folder / 'export/train/_classes.csv').write_text(f'Pixel Value, Class\n{listed}')
        write_photos(folder / 'my_photos', {**labels, 'one': labels['train/0']})
        shutil.copytree(folder / 'my_photos', folder / 'streets')
        cv2.imwrite(str(folder / 'street.jpg'), photo(64, 96))
        (folder / 'my.json').write_text(str(META).replace("'", '"'))
        for split in ('train', 'val'):  # as in the official archives
            stem = f'{split}/ulm/ulm_000000_000019'
            root = folder / 'data/cityscapes'
            save(root / f'leftImg8bit/{stem}_leftImg8bit.png', photo(64, 128))
            save(root / f'gtFine/{stem}_gtFine_labelIds.png', np.full((64, 128), 7, np.uint8))
        srun = folder / 'bin/srun'
        srun.parent.mkdir()
        srun.write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n')
        srun.chmod(0o755)

    def run(self, words: list[str], *, env: dict[str, str] | None = None) -> str:
        """Run a command in a process of its own and return its output."""
        env = {**self.env, **(env or {})}
        if words[0] == 'python' and words[1].endswith('.py'):
            status, output = run_warm(words[1:], cwd=self.folder, env=env)
        else:
            words = [sys.executable, *words[1:]] if words[0] == 'python' else words
            done = subprocess.run(
                words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=400
            )
            status, output = done.returncode, done.stdout + done.stderr
        assert status == 0, f'{shlex.join(words)}: {status}\n{output[-5000:]}'
        return output

    def existing(self, path: str) -> str:
        """Give the checkpoint of a short run the name that a page gives it; return its path."""
        file = self.folder / path
        if not file.exists() and (pointer := file.parent / 'last_checkpoint').is_file():
            shutil.copy(pointer.read_text().strip(), file)
        return path


def named_program(words: list[str]) -> tuple[ModuleType, list[str]]:
    """Return the program that a command starts, as a module, and its arguments."""
    if words[1] == '-m':
        name = words[2] if '.' in words[2] else f'{words[2]}.__main__'
        return importlib.import_module(name), words[3:]
    return load_tool(words[1].removeprefix('tools/')), words[2:]


def run_here(project: Project, words: list[str], env: dict) -> None:
    """Run a tool of ours in this process."""
    program, arguments = named_program(words)
    for key, options in SHORTER.items():
        if f'{Path(program.__file__).name} {" ".join(arguments)}'.startswith(key):
            arguments = [*arguments, *options]
    assert program.main(arguments) in (0, None)


def shortened(words: list[str]) -> list[str]:
    """Cut a training or test down to two iterations, or to seconds, of two images a batch.

    A config of a time limit runs by the clock where the command has ``minutes``.
    """
    line = ' '.join(words)
    by_clock = 'train_cfg.minutes=' in line
    options = [o for o in SHORT if not (by_clock and o.startswith('train_cfg.'))]
    options += BY_CLOCK if by_clock else BY_ITERATIONS if HAS_TIME_LIMIT.search(line) else []
    options += SMALL_CROPS if 'article-rgb' in line and 'crop_size' not in line else []
    without = [word.partition('=')[0] for word in words if word.endswith('=None')]
    options = [option for option in options if option.partition('.')[0] not in without]
    return [*words, '--cfg-options', *options]


def train_or_test(project: Project, words: list[str], env: dict) -> None:
    words = ['configs/psp_demo.py' if word == 'CONFIG' else word for word in words]
    words = [project.existing(word) if word.endswith('.pth') else word for word in words]
    project.run(shortened(words), env=env)


def distribute(project: Project, words: list[str], env: dict) -> None:
    """Run a plain training; of the others, a stand-in for python prints its arguments.

    Their processes are tested in ``test_distributed.py``.
    """
    if words[0].endswith('dist_test.sh') or env:
        output = project.run(words, env={**env, 'PYTHON': str(project.folder / 'bin/srun')})
        assert Path(re.search(r'\[(/\S+\.py)\]', output)[1]).is_file()
        assert '[torch.distributed.run]' in output and '[--nproc_per_node=8]' in output
        assert f'[--nnodes={env.get("NNODES", 1)}]' in output
        assert all(value in output for value in env.values())
        return
    words[words.index('8')] = '2'
    output = project.run(shortened(words), env={'PORT': free_port()})
    assert 'Distributed training: True' in output
    assert re.search(r'mIoU: +[\d.]+', output)


def schedule(project: Project, words: list[str], env: dict) -> None:
    """Check what a stand-in for srun is given."""
    output = project.run(words, env=env)
    program = Path(re.search(r'\[(/\S+\.py)\]', output)[1])
    assert program.name in ('train.py', 'test.py') and program.is_file()
    assert f'[--ntasks={env["GPUS"]}]' in output and f'[{words[3]}]' in output


def serve(project: Project, words: list[str], env: dict) -> None:
    command = [sys.executable, *words[1:], '--port', free_port()]
    server = subprocess.Popen(
        command, cwd=project.folder, env=project.env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        found = (re.search(r'Open (http://127\.0\.0\.1:\d+)', line) for line in server.stdout)
        with urllib.request.urlopen(next(filter(None, found))[1], timeout=60) as answer:
            assert 's by class' in answer.read().decode()
    finally:
        server.terminate()
        server.wait(timeout=20)


def make_dry(project: Project, words: list[str], env: dict) -> None:
    assert project.run(['make', '-n', *words[1:], f'VENV={project.folder}/new'])


def check_installation(project: Project, words: list[str], env: dict) -> None:
    extras = metadata('pspnet-plugin').get_all('Provides-Extra')
    asked = re.findall(r'\w+', ' '.join(re.findall(r'\[(.*?)\]', ' '.join(words))))
    assert asked and set(asked) <= set(extras)
    assert (ROOT / words[words.index('-c') + 1]).is_file()


def run_plan_dry(project: Project, words: list[str], env: dict) -> None:
    words = ['choices' if w == 'GROUP' else 'starting point' if w == 'LABEL' else w for w in words]
    assert 'python tools/train.py' in project.run([*words, '--dry-run'])


def check_export(project: Project, words: list[str], env: dict) -> None:
    """Check the inputs; the fixture ``demo_onnx`` runs the command, and its file is taken."""
    program, arguments = named_program(words)
    args = program.parse_args(arguments)
    assert args.dynamic or args.quantize.is_dir()
    assert all((project.folder / word).is_file() for word in words[1:4])


def parse_benchmark(project: Project, words: list[str], env: dict) -> None:
    """Parse the options of a benchmark, which takes minutes; each has tests of its own."""
    program, arguments = named_program(words)
    assert program.parse_args(arguments).part == arguments[0]


def check_file(project: Project, words: list[str], env: dict) -> None:
    """Check a command that sets up a shell or a checkout: its file or program exists."""
    last = words[-1]
    assert last in ('.venv/bin/activate', 'install') or (ROOT / last).is_file()


RULES = [
    (r'make ', make_dry),
    (r'pip install ', check_installation),
    (r'(source \.venv|\.venv/bin/)', check_file),
    (r'python -c ', lambda project, words, env: project.run(words)),
    (r'python tools/(train|test)\.py ', train_or_test),
    (r'tools/dist_(train|test)\.sh ', distribute),
    (r'tools/slurm_(train|test)\.sh ', schedule),
    (r'python tools/web_demo\.py\b', serve),
    (r'python -m benchmarks\.run_group ', run_plan_dry),
    (r'python tools/deployment/export_onnx\.py ', check_export),
    (r'python -m benchmarks ', parse_benchmark),
    (r'python (tools/|-m benchmarks)', run_here),
]


def rule_of(words: list[str]) -> Callable | None:
    """Return the function that runs a command, if there is one."""
    return next((rule for pattern, rule in RULES if re.match(pattern, ' '.join(words))), None)
