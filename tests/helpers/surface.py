"""The public surface: names and values that configs, checkpoints and scripts of users hold on to.

``PYTHONPATH=tests python -m helpers.surface`` writes ``surface.json``, against which
``test_surface.py`` compares. A difference is a change that users notice: write it only with a line
in the changelog.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType

from mmengine.config import Config
from mmengine.fileio.backends import prefix_to_backends
from mmengine.registry import WEIGHT_INITIALIZERS, Registry, init_default_scope
from mmseg import registry

from benchmarks.run_plans import SETTINGS
from pspnet_plugin.datasets import CityscapesPairsDataset

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(__file__).with_name('surface.json')
# Commands of tools that have several.
COMMANDS = {
    'make_pairs.py': ['synthetic', 'cityscapes', 'folders'],
    '__main__.py': ['heads', 'networks', 'speeds', 'keras', 'loader', 'predict'],
    'results_table.py': ['collect', 'write'],
}


def config_paths() -> list[Path]:
    """The zoo's configs."""
    return sorted((ROOT / 'configs').glob('*.py'))


def tool_paths() -> list[Path]:
    """The programs of this project; train.py and test.py hand over to the framework's."""
    found = [path for path in (ROOT / 'tools').rglob('*.py')]
    found += [
        ROOT / 'benchmarks' / f'{name}.py'
        for name in ('__main__', 'corruptions', 'label_rules', 'results_table', 'run_group')
    ]
    return sorted(path for path in found if path.name not in ('train.py', 'test.py'))


def digest(text: str) -> str:
    """Short SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def registered_names() -> dict[str, list[str]]:
    """Names that the plugin adds to the framework's registries."""
    registries = {name: item for name, item in vars(registry).items() if isinstance(item, Registry)}
    registries['WEIGHT_INITIALIZERS'] = WEIGHT_INITIALIZERS
    found = {
        name: sorted(
            key
            for key, item in one.module_dict.items()
            if item.__module__.startswith('pspnet_plugin.')
        )
        for name, one in sorted(registries.items())
    }
    return {name: keys for name, keys in found.items() if keys}


def resolved_config(path: Path) -> str:
    """Digest of a config's settings after inheritance, in the order of their names."""
    config = Config.fromfile(path)
    settings = json.loads(json.dumps({key: config[key] for key in SETTINGS if key in config}))
    ordered = json.loads(json.dumps(settings, sort_keys=True))
    return digest(Config(ordered).pretty_text)


def state_dict_keys(path: Path) -> str:
    """Digest of the names and shapes of a network's parameters and buffers."""
    config = Config.fromfile(path)
    init_default_scope('mmseg')
    state = registry.MODELS.build({**config.model, 'pretrained': None}).state_dict()
    return digest('\n'.join(f'{key} {tuple(value.shape)}' for key, value in state.items()))


def load_program(path: Path) -> ModuleType:
    """A program as a module."""
    spec = importlib.util.spec_from_file_location(f'{path.parent.name}.{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def usages(path: Path) -> list[str]:
    """The usage line of each of a program's commands: options, choices and placeholders."""
    main, found = load_program(path).main, []
    for command in [[], *([name] for name in COMMANDS.get(path.name, []))]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main([*command, '--help'])
        usage = ' '.join(said.getvalue().partition('\n\n')[0].split())
        prog = 'python -m benchmarks' if path.stem == '__main__' else Path(sys.argv[0]).name
        found.append(usage.partition(f'{prog} ')[2] or usage)
    return found


def schemes() -> dict[str, str]:
    """The virtual files of a pair, and which prefixes are registered for them."""
    dataset = CityscapesPairsDataset
    decoder = dataset.make_decoder(None, dict(rule='nearest', max_distance=40))
    from pspnet_plugin.datasets.pair_backends import label_uri, photo_uri

    return {
        'prefixes': ' '.join(sorted(p for p in prefix_to_backends if p.startswith('pair-'))),
        'photo': photo_uri('data/train/1.jpg', photo_side='left'),
        'label': label_uri('data/train/1.jpg', photo_side='right', decoder=decoder),
    }


def surface() -> dict:
    """All of it, by kind."""
    return {
        'registered names': registered_names(),
        'resolved configs': {path.name: resolved_config(path) for path in config_paths()},
        'state-dict keys': {path.name: state_dict_keys(path) for path in config_paths()},
        'usages': {path.name: usages(path) for path in tool_paths()},
        'schemes': schemes(),
    }


if __name__ == '__main__':
    KEPT.write_text(json.dumps(surface(), indent=1) + '\n')
