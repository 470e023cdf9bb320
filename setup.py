"""Builds the wheel; what the package is stands in pyproject.toml.

The wheel also carries configs, tools, weights and model-index.yml under ``pspnet_plugin/.mim``, the
place where OpenMMLab packages keep them.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithMim(build_py):
    """Copies ``.mim`` into a build; an editable install uses the checkout itself."""

    def run(self) -> None:
        """Build the package, then place configs, tools and weights beside it."""
        super().run()
        if self.editable_mode:
            return
        mim = Path(self.build_lib) / 'pspnet_plugin' / '.mim'
        for folder in ('configs', 'tools', 'weights'):
            shutil.copytree(
                ROOT / folder,
                mim / folder,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns('__pycache__'),
            )
        shutil.copy2(ROOT / 'model-index.yml', mim)


setup(cmdclass={'build_py': BuildWithMim})
