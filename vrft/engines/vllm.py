"""A vLLM server as the engine of rollouts: its weights and its failures."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config
from vrft.engines import server, server_check, waiting
from vrft.engines.client import Client, ServerFailure
from vrft.engines.files import PolicyFiles
from vrft.engines.served import ServedEngine
from vrft.engines.waiting import Patience
from vrft.errors import UserError
from vrft.models import encoding
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

T = TypeVar("T")


class VllmEngine(ServedEngine):
    """A vLLM server that samples for a policy, started here or attached to.

    ``sync_seconds`` is how long the last exchange of weights took.
    """

    def __init__(
        self,
        config: Config,
        policy: ModelPolicy,
        folder: Path,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Start or attach to a server, give it the policy's weights, and ask it a first prompt."""
        server_check.check(config)
        super().__init__(config, policy)
        self.log = folder / "vllm.log"
        self.restarts, self.sync_seconds = self.settings.restarts, 0.0
        self.server: server.Server | None = None
        self.cpu = bool(self.settings.python) and server_check.is_cpu(
            server_check.describe(self.settings.python)
        )
        # An attached server does not tell its device: it is one with that of the trainer.
        on_cpu = policy.loaded.device.type == "cpu" if self.settings.url else self.cpu
        self.dtype = getattr(torch, server.server_dtype(config, cpu=on_cpu))
        as_adapter = self.settings.lora == "adapter"
        self.files = PolicyFiles(policy, self.dtype, weights, as_adapter=as_adapter)
        # Names of adapters that no trainer has given to the same server before.
        self.names = (f"{self.files.folder.name}-{number}" for number in count(1))
        self.adapter = ""  # the one that is served
        atexit.register(self.close)
        try:
            if self.settings.url:
                self.client, self.model = Client(self.settings.url), ""
                self.attempt(self.attach)
            else:
                self.files.write_model()
                self.attempt(self.launch)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Return the server's address, for other processes to attach to."""
        return self.client.url

    # --- the server

    def launch(self) -> None:
        """Start a server with the newest weights, and ask it a first prompt."""
        # What torch keeps of freed memory is taken to a server on the same card.
        torch.cuda.empty_cache()
        self.server = server.Server(
            self.config, self.files.model, self.files.folder, self.log, cpu=self.cpu
        )
        self.client, self.model, self.adapter = self.server.client, "policy", ""
        self.server.wait()
        if self.files.as_adapter:
            self.load()
        self.first_request()

    def attach(self) -> None:
        """Check the server of ``rollout.vllm.url``, and give it the policy's weights."""
        where = f"rollout.vllm.url={self.settings.url}"
        server_check.check_version(self.client.version(), where)
        self.model, limit = self.client.models()
        needed = server.longest(self.config, self.policy.loaded.core.config)
        if limit < needed:
            raise UserError(
                f"{where}: it serves {limit} tokens, and sampling.max_prompt_length and "
                f"max_completion_length ask for {needed}; lower them, or start it with "
                f"--max-model-len {needed}"
            )
        try:
            self.load_weights()
            if self.files.as_adapter:
                self.load()
        except (UserError, ServerFailure) as error:
            lora = server.adapter_arguments(self.config)
            command = " ".join(("serve FOLDER --model MODEL --port PORT", *lora))
            raise UserError(
                f"{where}: it takes no new weights ({error}); start it on this machine by "
                f"`PYTHON {server.LAUNCHER} {command}`"
            ) from error
        self.first_request()

    def first_request(self) -> None:
        """Sample a token of a prompt with a picture: that a server is up proves nothing.

        Raises UserError for a server that does not count its tokens, by which it is waited for.
        """
        self.client.tokens_made()
        loaded = self.policy.loaded
        images = (Image.new("RGB", (64, 64), "grey"),) if loaded.family.has_vision else ()
        encoded = encoding.encode(loaded, Prompt("Hello", images, raw=True))
        sampling = SamplingConfig(max_completion_length=1)
        patience = Patience(self.settings.start_timeout, setting=waiting.START_TIMEOUT)
        self.answers([encoded], 1, sampling, [0], patience)

    def attempt(self, action: Callable[[], T]) -> T:
        """Return an action's result; start a server that fails again, while that is allowed.

        The action is then repeated with the new server, which has the newest weights. Raises
        UserError with the server's last words where it may not be started again.
        """
        while True:
            try:
                return action()
            except ServerFailure as failure:
                self.end_server(failure)
            if action != self.launch:
                self.attempt(self.launch)

    def end_server(self, failure: ServerFailure) -> None:
        """End a server that has failed; raise UserError unless it may be started again."""
        words = ""
        if self.server is not None:
            self.server.close()
            words = self.server.last_words()
        said = f"; its last words: {words}" if words else ""
        line = f"rollout.engine=vllm: the server failed: {failure}{said}"
        if self.settings.url:
            raise UserError(f"{line} (look at the server's own log)") from failure
        if self.restarts == 0:
            log = f" ({self.log})" if words else ""
            # Without an update there is no checkpoint, and what has failed would fail again.
            advice = (
                "go on from the last checkpoint, or let rollout.vllm.restarts start it again"
                if self.version
                else "mend what it says of, and start the run again"
            )
            raise UserError(f"{line}{log}; {advice}") from failure
        self.restarts -= 1
        print(f"{line}; starting it again ({self.restarts} restarts left)", file=sys.stderr)

    def check_alive(self) -> None:
        """Raise ServerFailure where the server was started here and its process has ended."""
        if self.server is not None:
            self.server.check_alive()

    def close(self) -> None:
        """End a server that was started here, with all its processes, and delete its files."""
        atexit.unregister(self.close)
        self.restarts = 0  # a thread that is still sampling starts no other server
        if self.server is not None:
            self.server.close()
        self.files.delete()

    # --- weights

    def sync(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Let the server sample from the policy's weights as they are now.

        ``weights`` are those of the policy's module, gathered. Requests under way are finished
        first with the old weights.
        """
        began = time.monotonic()
        self.files.write(weights)
        self.attempt(self.load)
        self.version += 1
        self.sync_seconds = time.monotonic() - began

    def load(self) -> None:
        """Make the server read the file of weights, or the adapter, that was written last."""
        if not self.files.as_adapter:
            self.load_weights()
            return
        before, self.adapter = self.adapter, next(self.names)
        folder, patience = str(self.files.adapter), self.settings.start_timeout
        self.exchange(partial(self.client.load_adapter, self.adapter, folder, before, patience))
        self.model = self.adapter  # the name of the model in requests

    def load_weights(self) -> None:
        """Make the server read the file of weights, which takes the longer the larger it is."""
        path, patience = str(self.files.weights), self.settings.start_timeout
        self.exchange(partial(self.client.load, path, patience))

    def exchange(self, action: Callable[[], None]) -> None:
        """Send weights by some calls; raise ServerFailure for a server that dies meanwhile."""
        waiting.exchange(self.client, action, self.settings.timeout)
