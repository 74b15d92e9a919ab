"""Evaluation results as text, plots and pages."""
