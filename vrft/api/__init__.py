"""The commands from Python: what ``import vrft`` offers beside the words of a task file."""
