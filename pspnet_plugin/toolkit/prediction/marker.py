"""Marker of an output directory, which belongs to one network and one way to write its labels."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from pspnet_plugin.toolkit.prediction.outputs import CLASSES, read_journal
from pspnet_plugin.utils.output_directory import check_free, image_files

MARKER = '.labelled.json'


def describe_run(
    weights: Path, *, config: Path | None, text: str, save: Sequence[str], **options: object
) -> dict:
    """Describe all that the outputs follow from, beside the inputs.

    Args:
        weights: Checkpoint, or exported file.
        config: File of the config, if there is one.
        text: The whole config.
        save: Kinds of outputs.
        **options: Other options that change them: ``opacity``, ``pairs``, ``max_side``.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return dict(
        weights=str(weights.resolve()),
        changed=weights.stat().st_mtime,
        config=f'{config.name} ({digest})' if config else '',
        save=sorted(set(save)),
        **options,
    )


def check_directory(directory: Path, run: dict) -> None:
    """Check that a directory, which need not exist, is free or of the same run.

    Raises:
        ValueError: It is not.
    """
    begun = bool(read_journal(directory)[0])
    foreign = _foreign(directory, save=run['save'], scored=run['pairs'])
    check_free(directory, marker=MARKER, made_by=run, foreign=foreign, begun=begun)


def _foreign(directory: Path, *, save: Sequence[str], scored: bool) -> Iterator[Path]:
    """Find files in an unmarked directory that outputs would replace or be mixed with."""
    yield from itertools.chain.from_iterable(image_files(directory / kind) for kind in save)
    if 'overlay' in save:
        yield from (directory / 'overlay').rglob('*.mp4')
    tables = [(CLASSES, True), ('shares.csv', 'shares' in save), ('scores.json', scored)]
    yield from (directory / name for name, asked in tables if asked and (directory / name).exists())
