"""Scores to figures: data sets, metrics, curves, plots, reports."""
