"""Marker of an output directory, which belongs to one network and one way to write its labels."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pspnet_plugin.toolkit.prediction.outputs import CLASSES, read_journal
from pspnet_plugin.utils.files import sha256_of
from pspnet_plugin.utils.output_directory import check_free, image_files

MARKER = '.labelled.json'


def describe_run(weights: Path, *, config: Path | None, text: str, **options: object) -> dict:
    """Describe all that outputs follow from: the whole config is ``text``."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return dict(
        weights=f'{weights.name} ({sha256_of(weights)[:12]})',
        config=f'{config.name} ({digest})' if config else '',
        **options,
    )


def check_directory(directory: Path, run: dict) -> None:
    """Raise ``ValueError`` unless a directory, which need not exist, is free or of this run."""
    begun = bool(read_journal(directory)[0])
    foreign = _foreign(directory, run)
    check_free(directory, marker=MARKER, made_by=run, foreign=foreign, begun=begun)


def _foreign(directory: Path, run: dict) -> Iterator[Path]:
    """Find files in an unmarked directory that outputs would replace or be mixed with."""
    save = run['save']
    for kind in save:
        yield from image_files(directory / kind)
    if 'overlay' in save:
        yield from (directory / 'overlay').rglob('*.webm')
    tables = {CLASSES: True, 'shares.csv': 'shares' in save, 'scores.json': run['pairs']}
    yield from (directory / name for name in tables if tables[name] and (directory / name).exists())
