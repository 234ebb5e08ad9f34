"""The policy: what the trainer and the evaluator know of a model."""

from vrft.policy.policy import ModelPolicy, Policy, load, reference

__all__ = ["ModelPolicy", "Policy", "load", "reference"]
