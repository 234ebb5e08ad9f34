"""The files through which a vLLM server gets a policy: its model's folder, weights and adapter."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from vrft.errors import UserError
from vrft.models.processors import write_preprocessors
from vrft.policy.adapter_weights import adapter_weights, write_adapter
from vrft.policy.merged_weights import base_weights, merged_weights
from vrft.policy.policy import ModelPolicy, strip_prefix
from vrft.system import folder_lock

SHARED_MEMORY = Path("/dev/shm")

PREFIX = "vrft-vllm-"
"""The first part of the name of each folder with a policy's files."""

SETTLED = 60.0
"""Seconds after which a folder's lock was taken, if ever."""


class PolicyFiles:
    """A folder in shared memory, or in that of temporary files where the weights do not fit.

    It holds all weights, an adapter merged into them. With ``as_adapter`` they are those of the
    base, and ``adapter`` is the folder of the newest adapter. It is locked as long as this process
    lives, so that another can tell it from one that a killed trainer has left.
    """

    def __init__(
        self,
        policy: ModelPolicy,
        dtype: torch.dtype,
        weights: Mapping[str, Tensor] | None = None,
        *,
        as_adapter: bool = False,
    ) -> None:
        """Write the policy's weights in a precision; ``weights`` are its module's, gathered.

        Raises UserError where there is no room for them.
        """
        self.policy, self.dtype, self.as_adapter = policy, dtype, as_adapter
        tensors = self.served((base_weights if as_adapter else merged_weights)(
            policy.loaded, named(weights)))  # fmt: skip
        delete_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place_for(tensors)))
        self.held = ExitStack()
        self.held.enter_context(folder_lock.held(self.folder, "a training"))
        self.model, self.weights = self.folder / "model", self.folder / "weights.safetensors"
        self.adapters = 0
        try:
            self.save(tensors)
            if as_adapter:
                self.write(weights)
        except BaseException:
            self.delete()
            raise

    @property
    def adapter(self) -> Path:
        """Return the folder of the newest adapter."""
        return self.folder / f"adapter-{self.adapters}"

    def write(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write what changes with the policy: all weights, or its adapter."""
        loaded = self.policy.loaded
        if not self.as_adapter:
            self.save(self.served(merged_weights(loaded, named(weights))))
            return
        tensors = self.served(adapter_weights(loaded, named(weights)))
        shutil.rmtree(self.adapter, ignore_errors=True)
        self.adapters += 1
        try:
            write_adapter(loaded, self.adapter, tensors)
        except OSError as error:
            raise no_room(self.adapter, error) from error

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the file of all weights anew."""
        self.weights.unlink(missing_ok=True)  # two copies might not fit into memory
        try:
            save_file(dict(tensors), self.weights, metadata={"format": "pt"})
        except OSError as error:
            raise no_room(self.weights, error) from error

    def served(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors in the server's precision, on the CPU."""
        return {
            name: weight.detach().to("cpu", self.dtype if weight.is_floating_point() else None)
            .contiguous()
            for name, weight in tensors.items()
        }  # fmt: skip

    def write_model(self) -> None:
        """Write the model's folder for a server: settings, tokenizer and processor, and a link.

        The pixel limits are the trainer's own. Settings for videos are there even where the model's
        folder has none: without them the server would die with the first picture.
        """
        loaded = self.policy.loaded
        self.model.mkdir()
        loaded.core.config.save_pretrained(self.model)
        loaded.processor.save_pretrained(self.model)
        if loaded.family.has_vision:
            write_preprocessors(loaded.processor, self.model)
            videos = self.model / "video_preprocessor_config.json"
            if not videos.is_file():
                shutil.copy(self.model / "preprocessor_config.json", videos)
        (self.model / "model.safetensors").symlink_to(self.weights)

    def delete(self) -> None:
        """Delete the folder with all that is in it."""
        self.held.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def delete_abandoned() -> None:
    """Delete folders whose trainers were killed: with a running server, nobody else deletes them.

    Whatever cannot be told to be such a folder, or be deleted, stays.
    """
    for place in {SHARED_MEMORY, Path(tempfile.gettempdir())}:
        for folder in place.glob(f"{PREFIX}*"):
            with suppress(OSError, UserError):  # it is gone, another user's, or in use
                if time.time() - (folder / folder_lock.NAME).stat().st_mtime > SETTLED:
                    folder_lock.check(folder)
                    shutil.rmtree(folder)


def named(weights: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
    """Return the weights of a policy's module by their names in its model."""
    return None if weights is None else strip_prefix(weights, "model.")


def no_room(path: Path, error: OSError) -> UserError:
    """Return the error of weights that are not written."""
    return UserError(
        f"rollout.engine=vllm: {path} is not written ({error}); make room there, or set TMPDIR"
    )


def place_for(tensors: Mapping[str, Tensor]) -> Path | None:
    """Return shared memory where the weights fit into it, else None for the temporary folder."""
    size = sum(tensor.nbytes for tensor in tensors.values())
    if SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 1.1 * size:
        return SHARED_MEMORY
    return None
