"""Files of photos, pairs and videos, labelled into files.

``sources`` finds them, ``stream`` reads them and lets ``apis.Predictor`` label them, ``outputs``
draws, by ``apis.drawing``, and writes.
"""
