"""Supervised fine-tuning on reference answers, by TRL's trainer."""
