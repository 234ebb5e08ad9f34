"""A run's folder: its settings, logs, data and console, and the disk below it."""
