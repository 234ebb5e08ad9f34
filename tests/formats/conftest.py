"""Fixtures of the tests of vrft/formats."""

from fakes.record_fixtures import cache, content

__all__ = ["cache", "content"]
