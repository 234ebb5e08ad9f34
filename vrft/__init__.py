"""vrft: visual reinforcement fine-tuning of Qwen-VL models on tasks with a checkable answer."""
