"""Pyramid pooling and convolution over upsampled feature maps, computed without them."""
