"""The settings of a run: frozen dataclasses are schema, defaults and documentation at once.

A setting that transformers' and TRL's trainers have too bears their name, but not always their
default, and batches count prompts, not completions: docs/others.md. Where settings come from, in
which order and how they are spelt: ``vrft.config.loading``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vrft.config.coercion import Above0, Amount, Count, Fraction, Place, Range, Size
from vrft.config.methods import AlgorithmConfig
from vrft.config.rollout import RolloutConfig, SamplingConfig


@dataclass(frozen=True)
class TaskConfig:
    """The task by name or file, and its own settings: the fields of its dataclass."""

    name: Place = ""
    """A task by its name, as ``vrft tasks`` lists them, or the path of its Python file."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The task's own settings by name. They are given beside the task's, as ``task.data_dir=...``;
    config.yaml writes them here."""


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters, by peft and with its names; ``r`` = 0 trains the full weights."""

    r: Size = 0
    """Rank of the adapters; 0: none."""
    lora_alpha: Count = 32
    """What an adapter computes is multiplied by ``lora_alpha`` / ``r``."""
    lora_dropout: Fraction = 0.0
    """Probability with which an input of an adapter is dropped in training."""
    target_modules: tuple[str, ...] = ()
    """Linear modules of the language model that are adapted, or ``all-linear``. Empty: those that
    mix tokens, as the model's family names them (q_proj, k_proj, v_proj and o_proj of Qwen2-VL)."""


@dataclass(frozen=True)
class ModelConfig:
    """The model: a hub id, a folder, or ``demo`` for the embedded one."""

    name: Place = "Qwen/Qwen2-VL-2B-Instruct"
    """A hub id, a folder of weights, a run, a LoRA adapter's folder, or ``demo``."""
    # auto: compute in bfloat16 on a GPU, in float32 on a CPU. Weights that are trained themselves,
    # without LoRA, are held in float32 whatever stands here: bfloat16 would lose a step of 1e-6.
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["nf4"] | None = None
    """Hold the linear layers of the language model in four bits, by bitsandbytes, and train an
    adapter on them (QLoRA): an eighth of the memory of float32. None: as they are loaded."""
    attn_implementation: Literal["sdpa", "eager"] = "sdpa"
    """Attention of the vision tower, by transformers' names: torch's fused one, or plain products,
    which hold every weight. That of the language model is this toolkit's own."""
    min_pixels: Count | None = None
    """Smallest picture area in pixels: smaller pictures are enlarged. None: the checkpoint's."""
    max_pixels: Count | None = None
    """Largest picture area in pixels: larger pictures are shrunk. An image token is made of 28 * 28
    pixels by Qwen2-VL and Qwen2.5-VL, of 32 * 32 by Qwen3-VL and Qwen3.5: this limit decides how
    much memory a picture takes. None: the checkpoint's."""
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Values of variables of the chat template, such as {enable_thinking: false} for Qwen3.5. They
    are written into the template that is saved with the model."""
    picture_cache_mib: Size = 1024
    """Memory in MiB for preprocessed pictures, and as much again for the features that a frozen
    vision tower made of them. Those not used for the longest time are dropped first."""
    vision_graph_mib: Size = 512
    """Memory in MiB for the activations of a vision tower that learns, kept from a step's rollout
    to its update, which then need not pass those pictures through the tower again. 0: none."""
    shared_prefix: bool = True
    """Pass each prompt through the model once for its whole group. False repeats the prompt and its
    pictures for each completion, by plain transformers: several times slower, to compare with."""
    freeze_vision_tower: bool = False
    """Leave the vision tower as it is, its projection into the language model included, and an
    adapter in it that was made elsewhere."""
    freeze_language_model: bool = False
    """Leave the language model and its output layer as they are, and an adapter in them that was
    made elsewhere. A new one, by ``model.lora.r``, would lie there alone, and is refused."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of layers for the backward pass, which computes the rest again: less
    memory, more time."""
    lora: LoraConfig = LoraConfig()


@dataclass(frozen=True)
class TrainConfig:
    """The training loop, with the names of transformers' and TRL's trainers."""

    output_dir: Place = ""
    """Folder of the run; empty: runs/<task>-<date>-<time>."""
    max_steps: Annotated[int, Range(-1)] = -1
    """Steps, each a batch of prompts with all its updates, whereas TRL counts updates; -1: as many
    as ``num_train_epochs`` need."""
    num_train_epochs: Above0 = 1.0
    """Passes over the data, where ``max_steps`` is -1; in TRL the default is 3."""
    per_device_train_batch_size: Count = 1
    """Prompts (whole groups) that one device holds at a time. TRL counts completions here: its 8
    with groups of 8 are 1."""
    gradient_accumulation_steps: Count = 1
    """How many times as many prompts one device takes for a step, one such batch after another."""
    max_tokens_per_micro_batch: Size = 0
    """Groups that pass the model together have at most so many tokens, a prompt counted once for
    its group; 0: ``per_device_train_batch_size`` groups, whatever their size. Only speed and memory
    depend on it: the loss is normalised by the step's tokens, however they are cut."""
    # TRL's default for GRPO: a policy gradient is noisier than SFT's. AdamW moves every weight by
    # about the rate itself, so that no weight outlives a rate of hundreds.
    learning_rate: Annotated[float, Range(0, 10)] = 1e-6
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """How the learning rate moves: linear and cosine fall to 0, the constant ones do not fall."""
    warmup_ratio: Fraction = 0.0
    """Share of the run's steps over which the learning rate rises from 0, before it falls."""
    optim: Literal["adamw_torch", "adamw_bnb_8bit"] = "adamw_torch"
    """The optimizer, by transformers' names: torch's AdamW, or bitsandbytes' with its two moments
    in eight bits, a quarter of their memory."""
    weight_decay: Amount = 0.0
    """AdamW's decay of weights; vectors, such as biases and norms, have none."""
    adam_beta1: Fraction = 0.9
    """AdamW's average of gradients: the share of the old one that stays at each update."""
    adam_beta2: Fraction = 0.999
    """The same of squared gradients."""
    adam_epsilon: Amount = 1e-8
    """AdamW's summand below the fraction, which keeps it finite."""
    max_grad_norm: Amount = 1.0
    """Largest norm of the gradient of an update; 0: no limit, not a gradient of zero."""
    seed: Annotated[int, Range(0, 2**32 - 1)] = 42  # NumPy takes no larger one
    """Seed of the order of the data, of sampled completions, and of new weights of adapters."""
    reward_timeout: Amount = 60.0
    """Seconds for a call of a reward from a file of the user's, in its worker process. A worker
    that needs longer, dies or grows is replaced, and its reward is missing for the group: None,
    counted in rewards/NAME/missing. 0: such rewards run in the run's process, without limits."""
    reward_memory: Amount = 16.0
    """Memory in GiB for the worker of a reward and all that it starts; 0: no limit."""
    max_missing_rewards: Size = 3
    """Groups in a row for which a reward may be missing; one more ends the run by its name."""
    math_verify_budget: Amount = 120.0
    """Seconds of processor time that math-verify may take for the answers of a step, on all its
    workers; answers beyond it are wrong, as one that takes too long is, and counted. 0: no
    limit."""
    dataloader_num_workers: Size = 2
    """Threads that read and encode the next step's prompts while this one trains; 0: none, each
    prompt is read when its step needs it. Threads and not processes: pictures are not copied."""
    ddp_timeout: Count = 1800
    """Seconds after which a process of several gives up waiting for another one, and the run ends
    with a line that says where that one is: less than the longest pause between two exchanges, such
    as a reward that one process waits for, ends a sound run. A process that is killed, stopped or
    hangs is noticed within a minute, whatever stands here."""
    hang_timeout: Amount = 35.0
    """Seconds for which a process of several may do nothing, before it ends the run with the line
    of code that it hangs in: neither compute, nor wait for the others, a server's rollouts, a
    reward's worker or a checkpoint. One that is slow is never ended; 0: nor is one that hangs,
    until ``ddp_timeout``."""
    eval_steps: Size = 0
    """Evaluate every so many steps, and at the end; 0: at the end only. Needs ``eval.split``."""
    save_steps: Size = 100
    """Write a checkpoint every so many steps, and at the end; 0: at the end only."""
    save_total_limit: Count | None = 2
    """How many of the newest checkpoints stay, beside the best; None: all."""
    metric_for_best_model: str | None = None
    """A metric of ``eval.split``, such as iou or eval_iou: the evaluation that is the best by it is
    followed by a checkpoint, which is kept. None: no checkpoint is the best."""
    greater_is_better: bool | None = None
    """Whether a greater value of that metric is better; None: unless its name ends in "loss"."""
    logging_steps: Count = 1
    """Write metrics, and completions, at every so many steps and at the last; the scores of an
    evaluation are always written."""
    log_completions: bool = True
    """Write every logged step's completions with their rewards to completions/ in the run, and give
    trackers histograms of their rewards, advantages and lengths."""
    log_completions_steps: Count = 50
    """Every so many steps, and at the first and the last, trackers get completions too."""
    num_completions_to_print: Count | None = 8
    """How many completions trackers get at such a step, whole groups of the main process; None: all
    of them."""
    log_multimodal: bool = True
    """Give trackers the pictures of these completions, with the true boxes and all answers'."""
    log_token_logprobs: bool = True
    """Write into completions/ also the log-probability with which each token was drawn, the
    characters of the text that it wrote, and the mean entropy: the files are 1.4 to 1.8 times as
    large."""
    canaries: bool = True
    """Try, before the first update and within seconds, whether the model sees its pictures, samples
    from the policy that learns and can earn the reward; False tries nothing. See
    docs/diagnosis.md."""
    strict: bool = False
    """End the run at the first warning of a canary or watchdog, instead of saying it once."""
    report_to: tuple[str, ...] = ()
    """Trackers that get the metrics, by accelerate's names: tensorboard, wandb, mlflow, swanlab,
    trackio, comet_ml, aim, clearml, dvclive. Empty, or ``none``: only the run folder."""

    @property
    def prompts_per_device(self) -> int:
        """Return the prompts that one step takes on a device: b, of B on all of them."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def logs_token_logprobs(self) -> bool:
        """Return whether rollouts bear their tokens' probabilities, for the log of completions."""
        return self.log_completions and self.log_token_logprobs


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation while training: greedy answers on a split of the task; none without a split."""

    split: str = ""
    """Split of the task's data, such as test; empty: no evaluation while training."""
    limit: Count | None = None
    """How many samples are asked, the first of the split; None: all."""
    batch_size: Count = 8
    """Prompts that are answered at a time."""


@dataclass(frozen=True)
class DataConfig:
    """The treatment of a run's data, whatever the task; other settings of ``data`` are the task's.

    ``config.yaml`` writes those with the task: see "Spelling" in ``vrft.config.loading``.
    """

    on_bad_picture: Literal["error", "skip"] = "error"
    """A sample whose picture cannot be read ends the run, or is left out: the next of the stream
    stands in its place, bad_pictures.jsonl names it, and an evaluation counts it as wrong."""


@dataclass(frozen=True)
class Config:
    """Every setting of a training run; written to the run folder as config.yaml."""

    task: TaskConfig = TaskConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def samples_itself(self) -> bool:
        """Return whether the model in training samples, rather than a server or nobody."""
        return self.algorithm.by_reward and self.rollout.engine == "vrft"

    def total_steps(self, samples: int, processes: int) -> int:
        """Return ``max_steps``, or the steps of ``num_train_epochs`` passes over the samples."""
        train = self.train
        if train.max_steps >= 0:
            return train.max_steps
        prompts = train.prompts_per_device * processes
        if not self.algorithm.by_reward:
            # A step of transformers' trainer does not cross from one epoch into the next.
            return math.ceil(train.num_train_epochs * math.ceil(samples / prompts))
        return math.ceil(train.num_train_epochs * samples / prompts)
