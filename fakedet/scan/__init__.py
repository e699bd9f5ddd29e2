"""Bulk scoring: `python -m fakedet scan`. Light to import: the decoding workers load it without the network."""
