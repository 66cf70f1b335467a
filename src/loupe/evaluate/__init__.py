"""Evaluate: a model and a dataset in; scores with intervals, baselines, twins and a report out."""
