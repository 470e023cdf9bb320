"""Checks in environments of their own: ``nox`` runs the sessions lint, types and docs.

``make compat`` runs the suite with other versions, as the matrix says, and writes docs/compat.md.
One environment: ``nox -s "suite(onedl, python=3.12, torch=2.13.0)"``.
"""

import json
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

import nox

nox.options.default_venv_backend = 'venv'
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ['lint', 'types', 'docs']

OUTCOMES = Path('docs/compat')
ENVIRONMENT = ('-c', 'constraints.txt', '-e', '.[onedl,dev,deploy,keras,pretrained,web]')

# mmseg of the upstream family asks for this mmcv, with its compiled operators; there is no wheel of
# it for current versions of torch, so it is compiled once for each environment.
MMCV = 'mmcv==2.1.0'
OPENMMLAB = ['mmengine==0.10.7', 'mmsegmentation==1.2.2']
# Family, Python, torch, and what else these versions need. ``pinned``: as in constraints.txt. The
# oldest torch is the one that the family (onedl) or this plugin (openmmlab) supports.
OLD_NUMPY = ['numpy<2', 'opencv-python<4.12']
MATRIX = [
    ('onedl', '3.10', '2.13.0', 'pinned'),
    ('onedl', '3.11', '2.13.0', 'pinned'),
    ('onedl', '3.12', '2.13.0', 'pinned'),
    ('onedl', '3.13', '2.13.0', 'pinned'),
    ('onedl', '3.11', '2.4.1', []),
    ('onedl', '3.11', '2.15.0', []),
    ('openmmlab', '3.10', '2.1.2', OLD_NUMPY),
    ('openmmlab', '3.11', '2.13.0', []),
    ('openmmlab', '3.12', '2.13.0', []),
    ('openmmlab', '3.13', '2.13.0', []),
]
# Environments that cannot be installed, and why.
IMPOSSIBLE = {
    'openmmlab-3.13-2.13.0': 'mmcv 2.1.0 cannot be built: its setup.py reads a variable that exec '
    'no longer sets from Python 3.13 on',
}
# Exports to ONNX begin with torch 2.7, Keras's torch backend with 2.6.
FIRST_WITH_EXTRAS = (2, 7)
TESTS_OF_EXTRAS = [
    'test_benchmark', 'test_end_to_end', 'test_export*', 'test_keras_*', 'test_notebook',
    'test_pages', 'test_predict_onnx',
]  # fmt: skip


@nox.session(venv_backend='venv', reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Lint, format and spelling, as ``make lint``."""
    session.install('-c', 'constraints.txt', 'codespell', 'ruff')
    session.run('make', 'lint', f'BIN={session.bin}', 'READY=', external=True)


@nox.session(venv_backend='venv', reuse_venv=True)
def types(session: nox.Session) -> None:
    """Types, as ``make types``."""
    session.install(*ENVIRONMENT)
    session.run('mypy')


@nox.session(venv_backend='venv', reuse_venv=True)
def docs(session: nox.Session) -> None:
    """Links, configs and commands of README and docs; the commands are run, cut short."""
    session.install(*ENVIRONMENT)
    session.run(
        *('python', '-m', 'pytest', '-q', 'tests/unit/test_pages.py'),
        *('tests/integration/test_pages.py', *session.posargs),
        env={'OMP_NUM_THREADS': '1'},
    )


def _has_extras(torch: str) -> bool:
    return tuple(int(part) for part in torch.split('.')[:2]) >= FIRST_WITH_EXTRAS


def _name(family: str, python: str, torch: str) -> str:
    return f'{family}, python={python}, torch={torch}'


@nox.session(venv_backend='venv', reuse_venv=True)
@nox.parametrize(
    'python,family,torch,others',
    [
        nox.param(python, family, torch, others, id=_name(family, python, torch))
        for family, python, torch, others in MATRIX
    ],
)
def suite(session: nox.Session, family: str, torch: str, others: str | list[str]) -> None:
    """Unit and integration tests in one environment; arguments after ``--`` go to pytest."""
    name = f'{family}-{session.python}-{torch}'
    if name in IMPOSSIBLE:
        session.skip(IMPOSSIBLE[name])
    constraints = ['-c', 'constraints.txt'] if others == 'pinned' else []
    wanted = [f'torch=={torch}', *([] if others == 'pinned' else others)]
    session.install('setuptools<81', 'wheel', 'ninja', *wanted, *constraints)
    if family == 'openmmlab':
        session.install(_compiled_mmcv(session, torch), *OPENMMLAB, *wanted)
    extras = [family, 'dev', 'pretrained', 'web']
    extras += ['deploy', 'keras'] if _has_extras(torch) else []
    session.install('-e', f'.[{",".join(extras)}]', *wanted, *constraints)

    OUTCOMES.mkdir(parents=True, exist_ok=True)
    report = Path('.nox').resolve() / f'{name}.xml'
    report.unlink(missing_ok=True)
    skipped = [] if _has_extras(torch) else [f'--ignore-glob=*/{t}.py' for t in TESTS_OF_EXTRAS]
    session.run(
        *('python', '-m', 'pytest', '-q', '-n', '2', '--dist', 'worksteal'),
        *(f'--junitxml={report}', *skipped, *session.posargs),
        env={'OMP_NUM_THREADS': '1'},
        success_codes=[0, 1],
    )
    if not report.is_file():  # by nox --install-only
        return
    counts = ElementTree.parse(report).getroot().find('testsuite').attrib
    outcome = {key: int(counts[key]) for key in ('tests', 'failures', 'errors', 'skipped')}
    outcome['date'] = date.today().isoformat()
    outcome['left_out'] = skipped != []
    (OUTCOMES / f'{name}.json').write_text(json.dumps(outcome, indent=2) + '\n')
    if outcome['failures'] or outcome['errors']:
        session.error(f'{outcome["failures"]} failures, {outcome["errors"]} errors')


def _compiled_mmcv(session: nox.Session, torch: str) -> str:
    wheels = Path('.nox/wheels') / f'{session.python}-{torch}'
    if not list(wheels.glob('mmcv-*.whl')):
        session.run(
            *('python', '-m', 'pip', 'wheel', '--no-build-isolation', '--no-deps'),
            *('-w', str(wheels), MMCV),
            # Without optimisation, in a third of the time: the suite runs none of these operators.
            env={'MMCV_WITH_OPS': '1', 'MAX_JOBS': '2', 'CFLAGS': '-O0 -g0 -fPIC'},
        )
    return str(next(wheels.glob('mmcv-*.whl')))


@nox.session(venv_backend='none')
def compat_table(session: nox.Session) -> None:
    """Write docs/compat.md from the outcomes."""
    rows = [f'{family}-{python}-{torch}' for family, python, torch, _ in MATRIX]
    session.run('python', 'docs/compat/write_table.py', json.dumps(rows), json.dumps(IMPOSSIBLE))
