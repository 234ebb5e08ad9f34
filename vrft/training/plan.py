"""What a run would do: the resolved plan that ``vrft train --dry-run`` prints."""

from __future__ import annotations

import math

from vrft import paths, policy, registry
from vrft.config import methods
from vrft.config.schema import Config
from vrft.evaluation.scoring import read_samples

BYTES_TRAINED = 16
"""Per trained parameter in float32: weight, gradient and AdamW's two moments."""

BYTES_HELD = 4
"""Per parameter that is only held, of frozen parts and of a reference model."""


def plan_text(config: Config) -> str:
    """The plan in a few lines: data, prompt sizes, parameters, steps, memory without activations.

    Raises UserError for whatever would stop the run at its start.
    """
    task = registry.build(config.task)
    samples = read_samples(task, "train")
    loaded = policy.load(config.model, train=True)
    encoded = loaded.encode([task.prompt(samples[0])], config.sampling.max_prompt_length)[0]
    pictures = sum(view.width * view.height // 28**2 for view in encoded.views)
    parameters = list(loaded.module.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    train, algorithm = config.train, config.algorithm
    prompts = train.per_device_train_batch_size * train.gradient_accumulation_steps
    steps = train.max_steps
    if steps < 0:
        steps = math.ceil(train.num_train_epochs * len(samples) / prompts)
    held = frozen + (trained if algorithm.beta and not config.model.lora.r else 0)
    gigabytes = (trained * BYTES_TRAINED + held * BYTES_HELD) / 1e9
    return "\n".join(
        [
            f"task       {config.task.name}: {len(samples)} samples, rewards "
            f"{', '.join(task.rewards())}",
            f"model      {paths.model(config.model.name)}: {trained:,} parameters trained, "
            f"{frozen:,} frozen",
            f"method     {algorithm.name}, which holds: "
            f"{', '.join(methods.models_held(algorithm))}",
            f"prompt     {len(encoded.tokens)} tokens in the first sample, {pictures} of them of "
            f"pictures; limit {config.sampling.max_prompt_length}",
            f"step       {prompts} prompts x {algorithm.num_generations} completions of at most "
            f"{config.sampling.max_completion_length} tokens, on each device",
            f"steps      {steps} at learning rate {train.learning_rate:g}",
            f"memory     {gigabytes:.2f} GB a device for weights, gradients and optimizer, "
            "activations not counted",
        ]
    )
