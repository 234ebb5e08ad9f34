"""Engines: what samples the completions of training, by our own decoding or on a vLLM server."""
