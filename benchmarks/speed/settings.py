"""The settings of the race: pictures, prompts and completions as in the paper's tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Setting:
    """A kind of step: ``prompts`` groups of ``generations`` completions of ``completion`` tokens.

    Each prompt has ``words`` words and ``pictures`` pictures of ``rows`` x ``columns`` image tokens
    (28 x 28 pixels each). In a share ``tied`` of a step's groups all rewards are equal. A step is
    wanted to be at least ``floor`` times as fast as TRL's (0 where nothing was set), and to take no
    longer than the limit's time over ``of_limit``.
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
    floor: float = 0.0
    tied: float = 0.0
    of_limit: float = 0.7

    @property
    def informative(self) -> int:
        """Return how many groups of a step have rewards that differ."""
        return self.prompts - round(self.tied * self.prompts)

    @property
    def picture_tokens(self) -> int:
        """Return the image tokens of one picture."""
        return self.rows * self.columns

    @property
    def image_tokens(self) -> int:
        """Return the image tokens of one prompt."""
        return self.pictures * self.picture_tokens


SETTINGS = {
    setting.name: setting
    for setting in (
        # 512 image tokens are 401,408 pixels, the cap of the published recipe
        Setting("lisa", "LISA at the published pixel cap", 95, 100, 16, 32, floor=8.0),
        Setting("cvbench", "CV-Bench", 85, 120, 20, 20, floor=7.0),
        Setting("cvbench_high", "CV-Bench, large pictures", 85, 120, 25, 40),
        Setting("classification", "few-shot classification", 105, 100, 20, 20, floor=7.0),
        # small pictures and long answers, where the least can be shared
        Setting("geoqa", "GEOQA", 85, 250, 10, 15, floor=3.2),
        Setting("two_pictures", "two pictures in a prompt", 95, 100, 16, 16, pictures=2),
        Setting(
            "mathematics",
            "mathematics, no picture",
            125,
            2000,
            pictures=0,
            floor=2.0,
            of_limit=0.65,
        ),
        Setting("tied", "LISA, half of the groups tied", 95, 100, 16, 32, floor=12.0, tied=0.5),
    )
}

QUICK = ("lisa", "cvbench", "classification", "geoqa", "mathematics")
"""The settings that are raced unless others are asked for: those with a floor, but for "tied"."""

TIED = ("tied",)
"""The setting of a race of its own, as a sixth does not fit into ten minutes."""

LONGEST = 512
"""The longest completion: 2000 tokens of mathematics do not fit into ten minutes."""

CPU_PROMPTS = 2
"""Prompts of a step on a CPU."""


def fitted(setting: Setting, device: str) -> Setting:
    """Return a setting cut to the time of --quick, and to the prompts that a device takes."""
    prompts = CPU_PROMPTS if device == "cpu" else setting.prompts
    return replace(setting, completion=min(setting.completion, LONGEST), prompts=prompts)
