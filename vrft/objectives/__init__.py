"""Objectives: from rewarded groups to advantages, and from these to a loss."""
