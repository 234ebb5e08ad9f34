"""Attention of a group: completions read the keys, values and states of one shared prompt."""
