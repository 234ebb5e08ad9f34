"""Embedded demo: pictures, data sets written from a seed, tiny models, and their tokenizer."""
