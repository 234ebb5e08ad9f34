"""A library that logs to standard output from its import on, as DeepSpeed does."""

from __future__ import annotations

import logging
import sys


def import_it(name: str) -> logging.Logger:
    """Do what such a library does while it is imported: make its logger, and warn by it."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    handler = logging.StreamHandler(stream=sys.stdout)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logger.addHandler(handler)
    logger.warning("no accelerator was detected")
    return logger
