"""What is measured: pictures, prompts and completions as in the paper's tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Setting:
    """One kind of step: ``prompts`` groups of ``generations`` completions of ``completion`` tokens.

    Each prompt has ``words`` words and ``pictures`` pictures of ``rows`` x ``columns`` image tokens
    (28 x 28 pixels each). ``floor`` is how many times faster than TRL the whole step must at least
    be; 0 where none was set. ``tied`` is the share of groups whose rewards are all equal. Where
    completions are ``uneven`` those of a group are cut to 1, 2, ... Gths of their length.
    """

    name: str
    title: str
    words: int
    completion: int
    rows: int = 0
    columns: int = 0
    pictures: int = 1
    generations: int = 8
    prompts: int = 4
    tied: float = 0.0
    uneven: bool = False
    floor: float = 0.0

    @property
    def picture_tokens(self) -> int:
        """Image tokens of one picture."""
        return self.rows * self.columns

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each completion of a group."""
        if not self.uneven:
            return (self.completion,) * self.generations
        shares = range(1, self.generations + 1)
        return tuple(-(-self.completion * share // self.generations) for share in shares)

    @property
    def image_tokens(self) -> int:
        """Image tokens of one prompt."""
        return self.pictures * self.picture_tokens


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("lisa", "LISA at the published pixel cap", 95, 100, 16, 32, floor=6.0),
        Setting("cvbench", "CV-Bench", 85, 120, 20, 20, floor=5.0),
        Setting("cvbench_high", "CV-Bench, large pictures", 85, 120, 25, 40),
        Setting("classification", "few-shot classification", 105, 100, 20, 20, floor=5.0),
        Setting("geoqa", "GEOQA", 85, 250, 10, 15, floor=2.2),
        Setting("two_pictures", "two pictures in a prompt", 95, 100, 16, 16, pictures=2),
        Setting("mathematics", "mathematics, no picture", 125, 2000, pictures=0, floor=1.1),
    )
}

QUICK = ("lisa", "cvbench", "classification", "geoqa", "mathematics")
"""The settings of --quick: those with a floor."""

QUICK_COMPLETION = 512
"""Longest completion with --quick: 2000 tokens of mathematics do not fit into its time."""

FEW = 2
"""Prompts of a step on a CPU."""


def fitted(setting: Setting, *, quick: bool, device: str) -> Setting:
    """The setting cut down to what fits into the time of --quick, and to a device."""
    longest = min(setting.completion, QUICK_COMPLETION) if quick else setting.completion
    prompts = FEW if device == "cpu" else setting.prompts
    return replace(setting, completion=longest, prompts=prompts)
