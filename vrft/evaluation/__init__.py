"""Evaluation: answers to a benchmark, their scores with intervals, tables and comparisons.

    benchmark -> evaluate -> predictions -> scoring -> summary -> results -> report
                                                               -> comparison of two evaluations

Importing this package imports no torch: saved predictions are scored and shown without a model.
"""
