"""Settings: their schema, the rows of the algorithms, and configurations from files."""

from vrft.config.loading import load, merge, parse_override, read, to_override, to_yaml
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config, EvalConfig, LoraConfig, ModelConfig, TaskConfig, TrainConfig

__all__ = [
    "Config",
    "EvalConfig",
    "LoraConfig",
    "ModelConfig",
    "SamplingConfig",
    "TaskConfig",
    "TrainConfig",
    "load",
    "merge",
    "parse_override",
    "read",
    "to_override",
    "to_yaml",
]
