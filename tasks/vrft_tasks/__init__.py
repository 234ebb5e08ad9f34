"""The built-in tasks, one per module; a module ``_TASK`` reads the large formats of a task."""
