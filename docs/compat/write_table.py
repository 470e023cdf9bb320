"""Write docs/compat.md from the outcomes of ``nox -s suite`` in this folder.

Called by ``nox -s compat_table`` with the environments and the reasons of impossible ones as JSON.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """# The suite with other versions

Written by `make compat`, which makes an environment for each line (nox) and runs the suite in it.
Skipped are the tests that need a GPU; known to fail, two tools of mmseg 1.2.2 by themselves \
(browse_dataset.py, get_flops.py).
A line is of the suite as it was on its day.
Exports and the Keras converters begin with torch 2.7.

| family | Python | torch | outcome |
| --- | --- | --- | --- |
"""


def outcome_of(name: str, impossible: dict[str, str]) -> str:
    """Return the outcome of an environment in words."""
    path = HERE / f'{name}.json'
    if not path.is_file():
        return f'not run: {impossible[name]}' if name in impossible else 'not run'
    counts = json.loads(path.read_text())
    failed = counts['failures'] + counts['errors']
    passed = counts['tests'] - failed - counts['skipped']
    words = f'{passed} passed, {counts["skipped"]} skipped or known to fail'
    words += f', **{failed} failed**' if failed else ''
    words += ', without exports and Keras' if counts['left_out'] else ''
    return f'{words}; {counts["date"]}'


def main(names: str, impossible: str) -> None:
    """Write the page."""
    rows = [
        f'| {" | ".join([*name.rsplit("-", 2), outcome_of(name, json.loads(impossible))])} |\n'
        for name in json.loads(names)
    ]
    (HERE.parent / 'compat.md').write_text(HEAD + ''.join(rows))


if __name__ == '__main__':
    main(*sys.argv[1:])
