"""Bulk scoring: `python -m fakedet scan`. Light to import: the decoding workers import it without the network."""
