"""Building blocks of the programs in ``tools/``; a Python user calls ``apis`` instead."""
