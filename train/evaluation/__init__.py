"""Evaluation of a checkpoint: data sets, scores, metrics, curves, calibration, plots and reports."""
