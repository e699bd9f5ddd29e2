"""The model card, the repositories on the Hub, the Space."""
