"""The runs that a file plans, each a row of a table of results for one seed."""

import hashlib
import json
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from mmengine.config import Config

from benchmarks.run_results import kept_path

GROUP_KEYS = {'cores', 'options', 'runs', 'seeds'}
RUN_KEYS = {'config', 'options', 'seeds', 'test', 'test_config', 'of'}
OF_KEYS = ('test', 'seeds')


@dataclass(frozen=True)
class Run:
    """A row of a table, for one seed.

    Attributes:
        group: Its table.
        label: Its name there.
        seed: Of the training.
        config: Path of its config from the project's root.
        cores: CPU cores it gets.
        options: For ``--cfg-options`` of the training.
        test: Arguments of ``test.py`` after the training, or None.
        test_config: Config of that test, where it is not the training's: what was trained on
            another layout of the data is scored as all others are.
        of: Label of the run whose training it is, where it differs in its test only.
    """

    group: str
    label: str
    seed: int
    config: str
    cores: int
    options: tuple[str, ...]
    test: tuple[str, ...] | None
    test_config: str
    of: str | None

    @property
    def kept(self) -> Path:
        """Its logs, below the folder of all."""
        return kept_path(self.group, self.label, self.seed)

    @property
    def folder(self) -> Path:
        """Where it is trained, below the folder of all."""
        path = kept_path(self.group, self.of or self.label, self.seed)
        return path.parent / path.name.removesuffix('.json')

    @property
    def training(self) -> list[str]:
        """Arguments of ``train.py``."""
        return [self.config, '--cfg-options', *self.options, f'randomness.seed={self.seed}']

    def testing(self, checkpoint: str) -> list[str]:
        """Arguments of ``test.py``."""
        options = ['--cfg-options', *self.options] if self.options else []
        return [self.test_config, checkpoint, *self.test, *options]

    @property
    def train_command(self) -> str:
        """What repeats the training, without the paths of a machine."""
        return f'OMP_NUM_THREADS={self.cores} python tools/train.py {shlex.join(self.training)}'

    @property
    def command(self) -> str:
        """What repeats it."""
        if self.test is None:
            return self.train_command
        test = f'python tools/test.py {shlex.join(self.testing("CHECKPOINT"))}'
        return f'{self.train_command} && {test}'

    def settings(self, root: Path) -> str:
        """All that its weights follow from, beside code and data.

        Args:
            root: Folder that the config's path begins in.
        """
        return f'{self.train_command}\n\n{Config.fromfile(root / self.config).pretty_text}'

    def recipe(self, root: Path) -> str:
        """The same for all seeds and places of the data, and another for other settings.

        Args:
            root: See ``settings``.
        """
        config = json.dumps(Config.fromfile(root / self.config).to_dict(), sort_keys=True)
        config = re.sub(r'"data_root": "[^"]*"', '', config)
        alike = replace(self, seed=0)
        return hashlib.sha256(f'{alike.command}\n{config}'.encode()).hexdigest()[:16]


def read_runs(path: Path, group: str) -> list[Run]:
    """The runs of a group, in the order of the file.

    Raises:
        ValueError: there is no such group, or what it says of a run cannot be used.
    """
    try:
        groups = yaml.load(path.read_text(), _Loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} cannot be used: {" ".join(str(error).split())}') from None
    _check_kind(groups, dict, f'{path}')
    if group not in groups:
        known = ', '.join(map(str, groups)) or 'none'
        raise ValueError(f'{path} has no group {group!r}; there are {known}')
    content = groups[group]
    _check_kind(content, dict, f'{path}, {group}')
    if unknown := set(content) - GROUP_KEYS:
        raise ValueError(f'{path}, {group}: unknown key {", ".join(sorted(map(str, unknown)))}')
    rows = content.get('runs') or {}
    if not rows:
        raise ValueError(f'{path}, {group}: it has no runs')
    _check_kind(rows, dict, f'{path}, {group}, runs')
    _check_values(content, f'{path}, {group}')
    for label, row in rows.items():
        _check_row(label, row, f'{path}, {group}, {label}')
    found = []
    for label in rows:
        found += _read_row(group, label, rows, content, where=f'{path}, {group}, {label}')
    names = [run.kept for run in found]
    if twice := [run for run in found if names.count(run.kept) > 1]:
        raise ValueError(f'{path}, {group}: two runs would be kept as {twice[0].kept}')
    return found


def _read_row(group: str, label: str, rows: dict, content: dict, *, where: str) -> list[Run]:
    """A run a seed, as a row and its group say."""
    own = rows[label]
    tests_other = 'of' in own
    base = rows.get(own['of'], {}) if tests_other else own
    unusable = tests_other and ('test' not in own or set(own) - {'of', *OF_KEYS})
    if 'config' not in base or unusable:
        raise ValueError(
            f'{where}: expected a config, or the label of a run that has one (of), its test, and '
            f'no more than seeds beside; got {own}'
        )
    trained = base.get('seeds', content.get('seeds', [0]))
    seeds = own.get('seeds', trained)
    if untrained := [seed for seed in seeds if seed not in trained]:
        known = ', '.join(map(str, trained))
        raise ValueError(f'{where}: {own["of"]!r} has no seed {untrained[0]}; it has {known}')
    return [
        Run(
            group=group,
            label=label,
            seed=seed,
            config=base['config'],
            cores=content.get('cores', 2),
            options=(*content.get('options', ()), *base.get('options', ())),
            test=tuple(own['test']) if 'test' in own else None,
            test_config=base.get('test_config', base['config']),
            of=own.get('of'),
        )
        for seed in seeds
    ]


class _Loader(yaml.SafeLoader):
    """In which a name stands once in a mapping; of two, YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [name.value for name, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            said = f'{twice[0]!r} stands there twice'
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        return super().construct_mapping(node, deep)


def _check_row(label: object, row: object, where: str) -> None:
    _check_kind(label, str, where)
    _check_kind(row, dict, where)
    _check_values(row, where)
    if unknown := set(row) - RUN_KEYS:
        raise ValueError(f'{where}: unknown key {", ".join(sorted(map(str, unknown)))}')


def _check_values(values: dict, where: str) -> None:
    """Of the keys that groups and runs have in common, and of a run's own."""
    for key, kind, item in (
        ('options', list, str), ('test', list, str), ('seeds', list, int), ('cores', int, None),
        ('config', str, None), ('test_config', str, None), ('of', str, None),
    ):  # fmt: skip
        if key not in values:
            continue
        _check_kind(values[key], kind, f'{where}, {key}')
        for value in values[key] if item else ():
            _check_kind(value, item, f'{where}, {key}')
    for option in values.get('options', ()):
        if '=' not in option:
            raise ValueError(f'{where}, options: expected KEY=VALUE, got {option!r}')
        if option.partition('=')[0] in ('randomness', 'randomness.seed'):
            raise ValueError(f'{where}, options: {option} is what seeds are for: seeds: [0, 1]')
    if values.get('cores', 1) < 1 or values.get('seeds') == []:
        raise ValueError(f'{where}: expected cores from 1 up, and a seed at least')


def _check_kind(value: object, kind: type, where: str) -> None:
    words = {dict: 'names with values', list: 'a list', str: 'a text', int: 'a whole number'}
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f'{where}: expected {words[kind]}, got {value!r}')
