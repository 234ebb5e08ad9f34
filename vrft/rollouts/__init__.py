"""The rollouts of a run on all its devices: from the policy itself, or from a server they share."""
