"""Where the tests' own files lie."""

from pathlib import Path

FAKES = Path(__file__).resolve().parent
RECORDS = FAKES.parent / "records"
"""A few records of every published data set, in its published form."""
ROOT = FAKES.parents[1]
"""The checkout."""
