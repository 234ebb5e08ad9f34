"""Cold start: how the embedded models were made, by supervised fine-tuning on a CPU."""
