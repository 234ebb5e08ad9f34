"""Processes: what several devices share, and what one of them does when another is gone."""
