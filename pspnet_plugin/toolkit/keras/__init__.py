"""The article's Keras model: built, read from its files, and turned into ours and back."""
