"""What can be known of a task and its data before any training: ``vrft check``."""
