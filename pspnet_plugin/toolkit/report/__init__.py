"""Report on one or more trainings: one HTML file with scores, curves and error maps."""
