"""Plans of runs: a file such as ``results/runs.yml`` names them, a row of a table each."""

import argparse
import hashlib
import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, DictAction

from benchmarks.run_results import results_path

# Settings that the framework or one of the tools reads; all others are variables of a config.
SETTINGS = [
    'activation_checkpointing', 'auto_scale_lr', 'compile', 'crop_size', 'custom_hooks',
    'custom_imports', 'data_preprocessor', 'default_hooks', 'default_scope',
    'efficient_conv_bn_eval', 'env_cfg', 'find_unused_parameters', 'launcher', 'load_from',
    'log_level', 'log_processor', 'model', 'model_wrapper_cfg', 'optim_wrapper', 'param_scheduler',
    'randomness', 'resume', 'sync_bn', 'test_cfg', 'test_dataloader', 'test_evaluator',
    'test_pipeline', 'train_cfg', 'train_dataloader', 'train_pipeline', 'tta_model',
    'tta_pipeline', 'val_cfg', 'val_dataloader', 'val_evaluator', 'vis_backends', 'visualizer',
]  # fmt: skip
# Keys of a run and of a group in a file of plans, and the types of their values.
RUN_KEYS = dict(config=str, options=[str], seeds=[int], test=[str], test_config=str, of=str)
GROUP_KEYS = dict(cores=int, options=[str], seeds=[int], runs=dict)


@dataclass(frozen=True)
class RunPlan:
    """Row of a table, for one seed."""

    group: str
    label: str
    seed: int
    config: str  # path from the project's root
    cores: int
    options: tuple[str, ...]  # --cfg-options of the training
    test: tuple[str, ...] | None  # arguments of test.py after the training, if it is tested
    test_config: str  # of that test; differs if the training is on another layout of the data
    of: str | None  # label of the run whose training this is, if only the test differs

    @property
    def path(self) -> Path:
        """File of its results below the folder of all."""
        return results_path(self.group, self.label, self.seed)

    @property
    def folder(self) -> Path:
        """Work dir below the folder of all."""
        return results_path(self.group, self.of or self.label, self.seed).with_suffix('')

    @property
    def training(self) -> list[str]:
        """Arguments of ``train.py``."""
        return [self.config, '--cfg-options', *self.options, f'randomness.seed={self.seed}']

    @property
    def test_options(self) -> dict[str, Any]:
        """``--cfg-options`` of the test alone, by dotted keys."""
        parser = argparse.ArgumentParser()
        parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
        return parser.parse_known_args(self.test or ())[0].cfg_options

    def testing(self, checkpoint: str) -> list[str]:
        """Arguments of ``test.py``."""
        test = list(self.test or ())
        if self.options:  # the flag is taken once
            at = test.index(flag) if (flag := '--cfg-options') in test else len(test)
            test[at : at + 1] = [flag, *self.options]
        return [self.test_config, checkpoint, *test]

    @property
    def train_command(self) -> str:
        """Command of the training, without the paths of a machine."""
        return f'OMP_NUM_THREADS={self.cores} python tools/train.py {shlex.join(self.training)}'

    @property
    def command(self) -> str:
        """Command that repeats the run."""
        if self.test is None:
            return self.train_command
        test = f'python tools/test.py {shlex.join(self.testing("CHECKPOINT"))}'
        return f'{self.train_command} && {test}'

    def settings(self, root: Path) -> str:
        """All that the weights follow from, beside code and data; configs lie below ``root``."""
        settings = json.dumps(_settings(root / self.config), indent=1, sort_keys=True)
        return f'{self.train_command}\n\n{settings}\n'

    def recipe(self, root: Path) -> str:
        """Digest of the settings; equal for all seeds and places of the data."""
        config = json.loads(
            json.dumps(_settings(root / self.config)),
            object_hook=lambda part: {k: v for k, v in part.items() if k != 'data_root'},
        )
        text = f'{replace(self, seed=0).command}\n{json.dumps(config, sort_keys=True)}'
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _settings(path: Path) -> dict:
    config = Config.fromfile(path)
    return {key: config[key] for key in SETTINGS if key in config}


def read_plans(path: Path, group: str) -> list[RunPlan]:
    """Read the runs of a group; raise ValueError if there is none, or its content is unusable."""
    try:
        groups = yaml.load(path.read_text(), _UniqueKeysLoader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} cannot be read: {" ".join(str(error).split())}') from None
    _check_type(groups, dict, f'{path}')
    if group not in groups:
        known = ', '.join(map(str, groups)) or 'none'
        raise ValueError(f'{path} has no group {group!r}; expected one of: {known}')
    content, where = groups[group], f'{path}, {group}'
    _check(content, GROUP_KEYS, where)
    rows = content.get('runs')
    if not rows:
        raise ValueError(f'{where}: it has no runs')
    for label, row in rows.items():
        _check_type(label, str, f'{where}, {label}')
        _check(row, RUN_KEYS, f'{where}, {label}')
    plans = [p for label in rows for p in _plans(group, label, content, f'{where}, {label}')]
    paths = [plan.path for plan in plans]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise ValueError(f'{where}: two runs would be written to {twice[0]}')
    return plans


def _plans(group: str, label: str, content: dict, where: str) -> list[RunPlan]:
    """Plan a run for each seed of a row."""
    row = content['runs'][label]
    other = row.get('of')
    base = row if other is None else content['runs'].get(other, {})
    is_test = 'test' in row and not set(row) - {'of', 'test', 'seeds'}
    if 'config' not in base or (other is not None and not is_test):
        raise ValueError(
            f'{where}: expected a config; or of (label of a run with a config), test and maybe '
            f'seeds; got {row}'
        )
    trained = base.get('seeds', content.get('seeds', [0]))
    seeds = row.get('seeds', trained)
    if unknown := [seed for seed in seeds if seed not in trained]:
        known = ', '.join(map(str, trained))
        raise ValueError(f'{where}: {other!r} has no seed {unknown[0]}; it has {known}')
    return [
        RunPlan(
            group=group, label=label, seed=seed, config=base['config'],
            cores=content.get('cores', 2),
            options=(*content.get('options', ()), *base.get('options', ())),
            test=tuple(row['test']) if 'test' in row else None,
            test_config=base.get('test_config', base['config']), of=other,
        )
        for seed in seeds
    ]  # fmt: skip


class _UniqueKeysLoader(yaml.SafeLoader):
    """Loader that refuses a key that a mapping holds twice; YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [name.value for name, _ in node.value]
        if twice := [name for name in names if names.count(name) > 1]:
            problem = f'{twice[0]!r} is there twice'
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)


def _check(values: Any, keys: dict, where: str) -> None:
    """Check the keys of a run or group, and their values."""
    _check_type(values, dict, where)
    if unknown := set(values) - set(keys):
        raise ValueError(f'{where}: unknown key {", ".join(sorted(map(str, unknown)))}')
    for key, value in values.items():
        _check_type(value, keys[key], f'{where}, {key}')
    for option in values.get('options', ()):
        if '=' not in option:
            raise ValueError(f'{where}, options: expected KEY=VALUE, got {option!r}')
        if option.partition('=')[0] in ('randomness', 'randomness.seed'):
            raise ValueError(f'{where}, options: give seeds: [0, 1] in place of {option}')
    if values.get('cores', 1) < 1 or values.get('seeds') == []:
        raise ValueError(f'{where}: expected cores from 1 up, and at least one seed')


def _check_type(value: Any, expected: type | list[type], where: str) -> None:
    if isinstance(expected, list):
        _check_type(value, list, where)
        for item in value:
            _check_type(item, expected[0], where)
    elif not isinstance(value, expected) or isinstance(value, bool):
        raise ValueError(f'{where}: expected {expected.__name__}, got {value!r}')
