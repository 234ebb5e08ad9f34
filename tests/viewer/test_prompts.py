from vrft.boxes import Box
from vrft.types import Prompt, Turn
from vrft.viewer import prompts


def test_a_prompt_is_shown_turn_by_turn() -> None:
    prompt = Prompt("now", system="be brief", prefill="<think>", turns=(Turn("user", "first"),))
    assert [(part["role"], part["text"]) for part in prompts.prompt_parts(prompt)] == [
        ("system", "be brief"),
        ("user", "first"),
        ("user", "now"),
        ("assistant", "<think>"),
    ]


def test_a_raw_prompt_is_called_so() -> None:
    assert prompts.prompt_parts(Prompt("as it stands", raw=True))[0]["role"] == "raw"


def test_boxes_are_fractions_to_five_decimals() -> None:
    assert prompts.boxes_of([Box(0.1234567, 0, 1, 0.5)]) == [[0.12346, 0, 1, 0.5]]
