"""Training: from samples to rewarded groups, from these to a loss, and the run around it."""
