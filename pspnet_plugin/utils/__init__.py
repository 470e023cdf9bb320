"""Image files, worker processes, output directories, command lines: nothing about segmentation."""
