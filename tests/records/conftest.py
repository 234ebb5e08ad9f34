"""Fixtures of the tests of vrft/records."""

from fakes.record_fixtures import cache, content

__all__ = ["cache", "content"]
