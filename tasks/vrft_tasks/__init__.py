"""The built-in tasks: every module here is one task."""
