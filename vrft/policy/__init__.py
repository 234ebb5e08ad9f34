"""The policy: everything that the trainer and the evaluator know of a model."""

from vrft.policy.policy import Generator, ModelPolicy, Policy, load, reference

__all__ = ["Generator", "ModelPolicy", "Policy", "load", "reference"]
