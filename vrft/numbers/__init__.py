"""Quantities as geometry problems write them, read without ``eval`` and without sympy.

``quantity`` reads a number with its unit, ``expression`` is the grammar of the number, ``units``
knows which words measure the same, ``si`` the symbols of physics, ``compounds`` which numbers are
no single amount.
"""

from vrft.numbers.compounds import compact, is_compound
from vrft.numbers.quantity import Quantity

__all__ = ["Quantity", "compact", "is_compound"]
