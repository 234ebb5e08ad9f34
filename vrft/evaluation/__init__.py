"""Evaluation: answers to a benchmark, their scores with intervals, pages and comparisons."""
