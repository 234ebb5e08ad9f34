"""Settings: what there is to set, the algorithms' rows, and configurations from files."""

from vrft.config.loading import load, merge, parse_override, read, to_yaml
from vrft.config.schema import (
    Config,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    SamplingConfig,
    TaskConfig,
    TrainConfig,
)

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
    "to_yaml",
]
