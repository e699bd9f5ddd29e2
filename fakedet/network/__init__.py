"""Configuration, model, views, heat map, exported graph and the runtimes that run it."""
