"""Training, evaluation and publishing: one command a file, and the packages that they share."""
