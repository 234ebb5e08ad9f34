"""Rows of data sets, whatever file or hub they come from: the public names.

``read`` gives the records of a split, asked by the names that tasks use, and ``read_each`` makes a
task's samples of them. What the rows of others say, as questions and answers, ``vrft.formats``
knows, and json beside pictures ``vrft.annotations``.
"""

from vrft.records.data_folder import check_inside
from vrft.records.files import read_json, read_western_json
from vrft.records.nested import flattened, listed, shown
from vrft.records.reading import AS_NAMED, KINDS, read, read_each
from vrft.records.record import Record

__all__ = [
    "AS_NAMED",
    "KINDS",
    "Record",
    "check_inside",
    "flattened",
    "listed",
    "read",
    "read_each",
    "read_json",
    "read_western_json",
    "shown",
]
