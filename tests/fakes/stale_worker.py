"""Methods for vLLM's workers that exchange weights wrongly, as TRL does it for a text-only model.

The text of this file is put behind that of ``worker.py``: it runs in vLLM's environment.
"""

from vrft.engines.worker import WeightReload, repack_heads


def vrft_stale_reload(self, path):
    """Load weights and leave the features of pictures that were made with the old ones."""
    from safetensors.torch import load_file
    from vllm.model_executor.model_loader.reload.inplace import reload_weights

    runner = self.model_runner
    weights = iter(load_file(path).items())
    reload_weights(runner.vllm_config, runner.get_model(), weights, None, True)
    repack_heads(runner.get_model())


def vrft_cached_pictures(self):
    """Count the pictures whose features this worker remembers."""
    return {"pictures": len(self.model_runner.encoder_cache)}


WeightReload.vrft_stale_reload = vrft_stale_reload
WeightReload.vrft_cached_pictures = vrft_cached_pictures
