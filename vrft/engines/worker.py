"""The extension of vLLM's workers that puts new weights in the place of those they serve.

vLLM imports this module in its own environment, from a copy beside the server's scratch files, so
it imports nothing of vrft. ``/collective_rpc`` calls the methods of the class by their names.
"""

from __future__ import annotations

from typing import Any

from safetensors import safe_open


class WeightReload:
    """The methods that vLLM adds to its worker class, of which ``self`` is an object."""

    def vrft_reload(self, path: str) -> dict[str, int]:
        """Load all weights of a safetensors file, named as transformers saves them.

        The server must be paused: requests, cached prefixes and cached pictures would otherwise mix
        old weights with new ones. Returns how many tensors the file holds. Raises ValueError for a
        file that lacks a weight that the model has.
        """
        worker: Any = self
        runner = worker.model_runner
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            runner.reload_weights(
                weights_iterator=((name, file.get_tensor(name)) for name in names)
            )
        repack_heads(runner.get_model())
        return {"tensors": len(names)}


def repack_heads(model: Any) -> None:
    """Prepare each output layer again from its weights, as vLLM does after loading.

    On a CPU vLLM holds a packed copy of the head. Where the head is tied to the embeddings, no
    weight is loaded under its name, and the copy of the old weights would go on predicting.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)
