"""What lies around the program: its disk and locks, processes, loggers, a user's own files."""
