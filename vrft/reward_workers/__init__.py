"""Processes of their own for a user's rewards, which may hang, grow or die there."""
