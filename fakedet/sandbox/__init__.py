"""Decoding in confined processes, bounded in memory and time."""
