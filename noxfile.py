"""Runs the suite with other Pythons, other versions of torch and the other family of the framework.

``make compat`` runs all of it, one environment after the other, and writes docs/compat.md from the
outcomes that are there. One environment: ``nox -s "suite(onedl, python=3.12, torch=2.13.0)"``.
"""

import json
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

import nox

nox.options.default_venv_backend = 'venv'
nox.options.error_on_missing_interpreters = False

OUTCOMES = Path('docs/compat')
TABLE = Path('docs/compat.md')

# mmseg of the upstream family asks for this mmcv, with its compiled operators; there is no wheel of
# it for current versions of torch, so it is compiled here once for each environment.
MMCV = 'mmcv==2.1.0'
OPENMMLAB = ['mmengine==0.10.7', 'mmsegmentation==1.2.2']
# Family, Python, torch and what else these versions of them ask for. ``pinned``: as constraints.txt
# has it. The oldest torch is the one that the family (onedl) or this plugin (openmmlab) states.
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
# What cannot be installed, and why.
IMPOSSIBLE = {
    'openmmlab-3.13-2.13.0': 'mmcv 2.1.0 cannot be built: its setup.py reads a variable that exec '
    'no longer sets from Python 3.13 on',
}
# Exports to ONNX begin with torch 2.7, Keras's torch backend with 2.6.
FIRST_WITH_EXTRAS = (2, 7)
TESTS_OF_EXTRAS = [
    'test_deployment', 'test_deployment_bad_input', 'test_keras_*', 'test_benchmark',
    'test_notebook', 'test_pages', 'test_predict_onnx',
]  # fmt: skip


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
    """The whole suite in one environment; arguments after ``--`` go to pytest."""
    if f'{family}-{session.python}-{torch}' in IMPOSSIBLE:
        session.skip(IMPOSSIBLE[f'{family}-{session.python}-{torch}'])
    constraints = ['-c', 'constraints.txt'] if others == 'pinned' else []
    wanted = [f'torch=={torch}', *([] if others == 'pinned' else others)]
    session.install('setuptools<81', 'wheel', 'ninja', *wanted, *constraints)
    if family == 'openmmlab':
        session.install(_compiled_mmcv(session, torch), *OPENMMLAB, *wanted)
    extras = [family, 'dev', 'web', *(['deploy', 'keras'] if _has_extras(torch) else [])]
    session.install('-e', f'.[{",".join(extras)}]', *wanted, *constraints)

    name = f'{family}-{session.python}-{torch}'
    OUTCOMES.mkdir(parents=True, exist_ok=True)
    report = Path('.nox').resolve() / f'{name}.xml'
    report.unlink(missing_ok=True)
    left_out = [] if _has_extras(torch) else [f'--ignore-glob=*/{t}.py' for t in TESTS_OF_EXTRAS]
    session.run(
        *('python', '-m', 'pytest', '-q', '-n', '2', '--dist', 'worksteal'),
        *(f'--junitxml={report}', *left_out, *session.posargs),
        env={'OMP_NUM_THREADS': '1'},
        success_codes=[0, 1],
    )
    if not report.is_file():  # by nox --install-only
        return
    counts = ElementTree.parse(report).getroot().find('testsuite').attrib
    outcome = {key: int(counts[key]) for key in ('tests', 'failures', 'errors', 'skipped')}
    outcome['date'] = date.today().isoformat()
    outcome['left_out'] = left_out != []
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
def table(session: nox.Session) -> None:
    """docs/compat.md, of the outcomes that are there."""
    rows = []
    for family, python, torch, _ in MATRIX:
        path = OUTCOMES / f'{family}-{python}-{torch}.json'
        rows.append(f'| {family} | {python} | {torch} | {_words(path)} |')
    TABLE.write_text(
        '# The suite with other versions\n\n'
        'Written by `make compat`, which makes an environment for each line (nox) and runs the '
        'suite in it.\nSkipped are the tests that need a GPU; known to fail, two tools of '
        'mmseg 1.2.2 by themselves (browse_dataset.py, get_flops.py).\nA line is of the suite as '
        'it was on its day.\nExports and the Keras converters begin with torch 2.7.\n\n'
        '| family | Python | torch | outcome |\n| --- | --- | --- | --- |\n'
        + '\n'.join(rows)
        + '\n'
    )


def _words(outcome: Path) -> str:
    if not outcome.is_file():
        why = IMPOSSIBLE.get(outcome.stem)
        return f'not run: {why}' if why else 'not run'
    found = json.loads(outcome.read_text())
    lost = found['failures'] + found['errors']
    passed = found['tests'] - lost - found['skipped']
    words = f'{passed} passed, {found["skipped"]} skipped or known to fail'
    words += f', **{lost} failed**' if lost else ''
    words += ', without exports and Keras' if found['left_out'] else ''
    return f'{words}; {found["date"]}'
