"""Files of photos, pairs and videos, labelled into files.

``sources`` finds them, ``stream`` reads them and has them labelled, ``outputs`` draws and writes.
"""
