"""Quantities as geometry problems write them, read without ``eval`` and without sympy.

``quantity`` reads a number with its unit, ``expression`` is the grammar of the number, ``units``
knows which words measure the same.
"""

from vrft.numbers.quantity import Quantity

__all__ = ["Quantity"]
