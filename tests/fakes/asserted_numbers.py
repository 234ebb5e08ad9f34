"""Answers with a 7: those that bound it or make another number of it, and those that say it."""

BOUNDS = [
    # bounds
    "at least 7",
    "7 at least",
    "at most 7",
    "more than 7",
    "less than 7",
    "greater than or equal to 7",
    "up to 7",
    "over 7",
    "under 7",
    "a maximum of 7",
    "max. 7",
    "7 or more",
    "7 and above",
    "7 plus",
    "(at least 7)",
    "The answer is at least 7.",
    "至少7个",
    "不到7",
    # estimates
    "about 7",
    "around 7",
    "roughly 7",
    "approximately 7",
    "nearly 7",
    "almost 7",
    "close to 7",
    "7 or so",
    "大约7个",
    # other numbers
    "negative 7",
    "half of 7",
    "twice 7",
    "twelve 7",
    "two of the 7",
    "one out of 7",
    "the square of 7",
    "the square root of 7",
]
"""Answers that bound a number, estimate it, or make another number of it: they do not name it."""

ASSERTED = [
    "only 7",
    "exactly 7",
    "just 7",
    "probably 7",
    "seven (7)",
    "a total of 7",
    "The maximum is 7",
    "It is about the lamps: 7",
    "7 over there",
    "7...",
]
"""Answers that name a number, firm or hedged."""
