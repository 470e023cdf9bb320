"""The package is imported in new interpreters."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pairs import ROOT
from helpers.programs import run_tool

NO_FRAMEWORK = """
import importlib.metadata, importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == 'mmseg' else find_spec(name, *a)
def version(name): raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
import pspnet_plugin
"""
CLOCK = """
import time
began = time.monotonic()
time.sleep(1.5)
from pspnet_plugin.utils.environment import PROCESS_STARTED
print(began - PROCESS_STARTED)
"""


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_import_without_the_framework_ends_in_an_import_error_that_names_it():
    last = python(NO_FRAMEWORK).stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: ') and 'pspnet-plugin[onedl]' in last


@pytest.mark.skipif(not Path('/proc/self/stat').is_file(), reason='needs the age of processes')
def test_clock_starts_with_the_process():
    before = float(python(CLOCK).stdout.split()[-1])  # seconds that starting the interpreter took
    assert 0 <= before < 30


def test_import_prints_nothing():
    output = run_tool(ROOT / 'tools/predict.py', '--help', fresh=True)
    assert output.startswith('usage:'), output[:300]
