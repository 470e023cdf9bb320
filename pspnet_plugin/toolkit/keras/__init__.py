"""The article's Keras model: build it, read its files, convert it to our network and back."""
