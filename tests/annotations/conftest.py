"""Fixtures of the tests of vrft/annotations."""

from fakes.record_fixtures import cache, content

__all__ = ["cache", "content"]
