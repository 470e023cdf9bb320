"""The folder that labelled pictures go to: it is of one network and one way to write them."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from pspnet_plugin.toolkit.prediction.outputs import CLASSES, read_journal
from pspnet_plugin.utils.output_directory import check_free, claim, image_files

MARKER = '.labelled.json'


def origin(
    weights: Path, *, config: Path | None, text: str, save: Sequence[str], **how: object
) -> dict:
    """What the files of a folder follow from, beside the inputs.

    Args:
        weights: Checkpoint, or exported file.
        config: Its file, if there is one.
        text: All that the config says.
        save: Kinds of files.
        **how: Other options that change them: ``opacity``, ``pairs``, ``max_side``.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return dict(
        weights=str(weights.resolve()),
        changed=weights.stat().st_mtime,
        config=f'{config.name} ({digest})' if config else '',
        save=sorted(set(save)),
        **how,
    )


def check_folder(folder: Path, made_by: dict) -> None:
    """Makes sure that a folder is free, or of the same origin.

    Args:
        folder: It need not exist.
        made_by: Of ``origin``.

    Raises:
        ValueError: it is not.
    """
    begun = bool(read_journal(folder)[0])
    foreign = _foreign(folder, save=made_by['save'], scored=made_by['pairs'])
    check_free(folder, marker=MARKER, made_by=made_by, foreign=foreign, begun=begun)


def claim_folder(folder: Path, made_by: dict) -> None:
    """Marks it as of this origin.

    Args:
        folder: One that ``check_folder`` found free, and that no other run can take meanwhile.
        made_by: Of ``origin``.
    """
    claim(folder, marker=MARKER, made_by=made_by)


def _foreign(folder: Path, *, save: Sequence[str], scored: bool) -> Iterator[Path]:
    """What would be replaced or mixed with others in a folder that is not ours."""
    yield from itertools.chain.from_iterable(image_files(folder / kind) for kind in save)
    if 'overlay' in save:
        yield from (folder / 'overlay').rglob('*.mp4')
    tables = [(CLASSES, True), ('shares.csv', 'shares' in save), ('scores.json', scored)]
    yield from (folder / name for name, made in tables if made and (folder / name).exists())
