"""The canaries that need no answer of the model, as a dry run tries them: those of gold answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from accelerate import Accelerator

from vrft.config.schema import Config
from vrft.diagnosis import alarms, canaries
from vrft.models.encoding import Encoded
from vrft.policy import Policy
from vrft.runs.bad_pictures import BadPictures
from vrft.task import Task
from vrft.training.stream import block_of, encode_sample, samples_from
from vrft.types import Sample


def try_gold_answers(
    config: Config,
    task: Task[Any],
    samples: Sequence[Sample[Any]],
    policy: Policy,
    accelerator: Accelerator,
) -> int:
    """Try the gold answers of the prompts that a run's canaries would try; return how many.

    Warnings are printed. Raises UserError for what would end the run before its first update, and
    for a prompt that its first step could not read.
    """
    train = config.train
    block = block_of(accelerator.process_index, train.prompts_per_device)
    bad_pictures = BadPictures(skip=config.data.on_bad_picture == "skip")
    read = partial(encode_sample, task, policy, config)
    chosen, views = [], []
    for place in range(block.start, block.stop)[: canaries.PROMPTS]:
        coming = samples_from(samples, train.seed, place)
        sample, (_, encoded) = bad_pictures.first_readable(coming, attrgetter("id"), read)
        chosen.append(sample)
        views.append(encoded.views if isinstance(encoded, Encoded) else ())
    raised = canaries.gold_answers(task, chosen, views)
    if accelerator.is_main_process:
        alarms.warn(raised, strict=train.strict)
    alarms.stop(0, raised, strict=train.strict)
    return len(chosen)
