"""The shared keys and values of a rollout against plain attention over repeated prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vrft.attention.group_cache import GroupCache, product

HEADS, KEY_HEADS, WIDTH, LAYERS = 6, 2, 8, 2
BLOCK = 8
CPU = torch.device("cpu")


class Repeated:
    """The plain way: every row has its own copy of its prompt, and no row or prompt ever leaves."""

    def __init__(self, real: Tensor, generations: int) -> None:
        self.real = real.repeat_interleave(generations, 0)
        self.generations = generations
        self.states: list[tuple[Tensor, Tensor]] = []

    def prefill(self, key: Tensor, value: Tensor) -> None:
        self.states.append(
            (
                key.repeat_interleave(self.generations, 0),
                value.repeat_interleave(self.generations, 0),
            )
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = self.states[layer]
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        self.states[layer] = keys, values
        own = torch.ones(len(keys), keys.shape[2] - self.real.shape[1], dtype=torch.bool)
        seen = torch.cat([self.real, own], dim=1)[:, None, None]
        repeats = HEADS // KEY_HEADS
        keys, values = keys.repeat_interleave(repeats, 1), values.repeat_interleave(repeats, 1)
        return F.scaled_dot_product_attention(query, keys, values, seen).transpose(1, 2)


def states(generator: torch.Generator, rows: int, heads: int, tokens: int) -> Tensor:
    return torch.randn(rows, heads, tokens, WIDTH, generator=generator)


@pytest.mark.parametrize("fixed_room", [False, True])
@pytest.mark.parametrize("lengths", [[5, 5, 5], [5, 3, 1]])
def test_it_attends_as_repeated_prompts_do_whichever_rows_have_ended(
    lengths: list[int], fixed_room: bool
) -> None:
    generations, generator = 4, torch.Generator().manual_seed(0)
    real = torch.arange(5) < torch.tensor(lengths).unsqueeze(1)
    cache = GroupCache(lengths, generations, BLOCK, CPU, fixed_room=fixed_room)
    plain = Repeated(real, generations)
    for layer in range(LAYERS):
        key, value = states(generator, 3, KEY_HEADS, 5), states(generator, 3, KEY_HEADS, 5)
        cache.store(layer, *(one.transpose(0, 1)[:, real] for one in (key, value)))
        plain.prefill(key, value)
    active = torch.arange(3 * generations)
    # single rows end, one with its first token, which the prompt predicts; then the whole second
    # prompt; and the rest run on beyond two blocks of room
    ends = {0: [1], 3: [0, 7], 5: [4, 5, 6], 7: [11]}
    for step in range(2 * BLOCK + 3):
        if step in ends:
            rows = (~torch.isin(active, torch.tensor(ends[step]))).nonzero().squeeze(1)
            cache.keep(rows)
            active = active[rows]
        assert cache.open() == (step % BLOCK == 0)
        for layer in range(LAYERS):
            query = states(generator, 3 * generations, HEADS, 1)
            key = states(generator, 3 * generations, KEY_HEADS, 1)
            value = states(generator, 3 * generations, KEY_HEADS, 1)
            expected = plain.attend(layer, query, key, value)[active]
            rows = (one[active][:, :, 0] for one in (query, key, value))
            got = cache.attend(layer, *rows, WIDTH**-0.5)
            assert torch.allclose(got, expected[:, 0], atol=1e-6)
    assert cache.prompt_states[0][0].shape[1] == 2  # the second prompt's keys are gone
    assert cache.completion_states[0][0].shape[2] == 3 * BLOCK


def test_half_precision_weights_are_those_of_a_float32_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    cache = GroupCache([300], 1, BLOCK, CPU)
    key, value = (states(generator, 1, KEY_HEADS, 300).half() for _ in range(2))
    cache.store(0, key[0], value[0])
    cache.open()
    query = states(generator, 1, HEADS, 1).half()
    last_key, last_value = (states(generator, 1, KEY_HEADS, 1).half() for _ in range(2))
    rows = (one[:, :, 0] for one in (query, last_key, last_value))
    got = cache.attend(0, *rows, WIDTH**-0.5).unsqueeze(1)
    exact = Repeated(torch.ones(1, 300, dtype=torch.bool), 1)
    exact.prefill(key.float(), value.float())
    expected = exact.attend(0, query.float(), last_key.float(), last_value.float())
    assert got.dtype == torch.float16
    # float16 keeps 11 bits: 1/2048 of values of about 1
    assert torch.allclose(got.float(), expected, atol=1e-3)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("fixed_room", [False, True])
def test_large_scores_are_no_less_exact_in_half_precision(autocast: bool, fixed_room: bool) -> None:
    """Biases of queries and keys add the same 100 to all scores, which the softmax takes off.

    bfloat16 has steps of 0.5 there, an error of a third; values of 8 bits differ by 1/256.
    """
    generator = torch.Generator().manual_seed(0)
    cache = GroupCache([300], 1, BLOCK, CPU, fixed_room=fixed_room)
    shared = (100 / WIDTH**0.5) ** 0.5  # WIDTH products of it with itself, scaled, are 100
    key, last_key = (
        (states(generator, 1, KEY_HEADS, tokens) + shared).bfloat16() for tokens in (300, 1)
    )
    value, last_value = (states(generator, 1, KEY_HEADS, tokens).bfloat16() for tokens in (300, 1))
    query = (states(generator, 1, HEADS, 1) + shared).bfloat16()
    cache.store(0, key[0], value[0])
    cache.open()
    rows = (part[:, :, 0] for part in (query, last_key, last_value))
    with torch.autocast("cpu", enabled=autocast):
        got = cache.attend(0, *rows, WIDTH**-0.5).unsqueeze(1)
    exact = Repeated(torch.ones(1, 300, dtype=torch.bool), 1)
    exact.prefill(key.float(), value.float())
    expected = exact.attend(0, query.float(), last_key.float(), last_value.float())
    assert float((got - expected).norm() / expected.norm()) < 2**-8


def test_a_graphics_card_multiplies_halves_to_float32_without_copies() -> None:
    """By the operator that has a type of its own for what it returns; "meta" takes it as CUDA does.

    Its numbers have never been seen: no other device has it.
    """
    names = []

    class Names(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if not func.is_view:
                names.append(str(func))
            return func(*args, **(kwargs or {}))

    left, right = (torch.zeros(*size, dtype=torch.bfloat16, device="meta")
                   for size in ((2, 4, 3, 8), (2, 4, 5, 8)))  # fmt: skip
    with Names():
        got = product(left, right[:, :, :2].mT)
    assert (got.shape, got.dtype) == ((2, 4, 3, 2), torch.float32)
    assert names == ["aten.bmm.dtype"]


def test_a_state_is_held_for_every_row_and_moves_on_in_its_place() -> None:
    cache = GroupCache([2, 3], 2, BLOCK, CPU)
    cache.store_delta(4, torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]]))
    inputs, memory = cache.delta_states[4]
    assert inputs.flatten().tolist() == [1, 1, 2, 2]  # two completions of each prompt
    assert memory.flatten().tolist() == [10, 10, 20, 20]
    cache.move_on(4, inputs + torch.arange(4.0).unsqueeze(1), memory * 2)
    # a captured graph goes on reading the memory that it was captured with
    assert inputs.flatten().tolist() == [1, 2, 4, 5]
    assert memory.flatten().tolist() == [20, 20, 40, 40]
    with cache.rehearsal():
        cache.move_on(4, inputs + 100, memory + 100)
    assert inputs.flatten().tolist() == [1, 2, 4, 5]
    assert memory.flatten().tolist() == [20, 20, 40, 40]


def test_states_leave_with_their_rows() -> None:
    cache = GroupCache([1, 1], 2, BLOCK, CPU)
    cache.store_delta(0, torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0]]))
    cache.keep(torch.tensor([1, 3]))
    assert [state.flatten().tolist() for state in cache.delta_states[0]] == [[1, 2], [10, 20]]
    cache.keep(torch.tensor([1]))  # the first prompt has no rows left
    assert [state.flatten().tolist() for state in cache.delta_states[0]] == [[2], [20]]
