"""Which family of generators an image comes from."""
