"""The benchmark: `python -m fakedet bench`."""
