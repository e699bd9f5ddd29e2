"""The training loop: model, options, state, validation, record."""
