"""``vrft check``: the faults of a task and its data that show before any training."""
