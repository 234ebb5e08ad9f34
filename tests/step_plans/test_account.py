"""The account of a computation on "meta": memory while it is held, work by part."""

from __future__ import annotations

import torch

from vrft.step_plans.account import Account, Place

KIB = 1024


def test_memory_is_held_from_an_operator_to_the_last_reference() -> None:
    weight = torch.empty(256, 256, device="meta")  # made before: nobody's
    with Account() as account:
        account.phase = "forward"
        with account.within("decoder"):
            first = weight @ weight  # 256 KiB
            assert account.held == 256 * KIB
            view = first.view(-1)  # no memory of its own
            second = first + 1
        assert account.held == 512 * KIB
        del first
        assert account.held == 512 * KIB  # the view keeps it
        del view
        assert account.held == 256 * KIB
        second.add_(1)
        assert account.held == 256 * KIB
    peak = account.peaks["forward"]
    assert peak.total == 512 * KIB
    assert peak.by_place == {Place("forward", "decoder"): 512 * KIB}


def test_what_a_graph_saves_is_held_until_its_backward_pass() -> None:
    weight = torch.empty(256, 256, device="meta", requires_grad=True)
    with Account() as account:
        account.phase = "forward"
        loss = (weight @ weight).exp().sum()  # the exponential is saved, the product is not
        assert account.held == 256 * KIB + 4
        account.phase = "backward"
        loss.backward()
        del loss
    assert weight.grad is not None
    assert account.held == 256 * KIB  # the gradient


def test_a_backward_operator_belongs_to_the_part_whose_weight_it_reads() -> None:
    first, second = (torch.empty(64, 64, device="meta", requires_grad=True) for _ in range(2))
    account = Account()
    account.know("vision", iter([first]))
    account.know("decoder", iter([second]))
    values = torch.empty(8, 64, device="meta")
    with account:
        account.phase = "forward"
        with account.within("vision"):
            hidden = (values @ first).sin()
        with account.within("decoder"):
            loss = (hidden @ second).sum()
        account.phase = "backward"
        loss.backward()
    product = 2 * 8 * 64 * 64
    flops = {
        place: sum(work.flops for work in works)
        for place, works in account.work.items()
        if sum(work.flops for work in works)
    }
    assert flops == {
        Place("forward", "vision"): product,
        Place("forward", "decoder"): product,
        Place("backward", "decoder"): product + product,  # of values and of weights
        Place("backward", "vision"): product,  # of weights alone
    }


def test_a_released_tensor_is_held_no_longer_and_ends_in_peace() -> None:
    with Account() as account:
        made = torch.ones(KIB, device="meta")
        account.release(made)
        assert account.held == 0
        del made
        assert account.held == 0


def test_a_grouped_convolution_has_gradients_of_its_own_size() -> None:
    values = torch.empty(1, 32, 100, device="meta", requires_grad=True)
    weight = torch.empty(32, 1, 4, device="meta", requires_grad=True)
    with Account() as account:
        account.phase = "forward"
        out = torch.nn.functional.conv1d(values, weight, groups=32)
        account.phase = "backward"
        out.sum().backward()
    forward, backward = (
        sum(w.flops for p, works in account.work.items() if p.phase == phase for w in works)
        for phase in ("forward", "backward")
    )
    assert forward == 2 * 32 * 97 * 4
    assert backward == 2 * forward


def test_what_is_kept_has_another_name_and_its_operators_stay_the_parts_own() -> None:
    weight = torch.empty(64, 64, device="meta", requires_grad=True)
    with Account() as account:
        account.phase = "prefill"
        with account.within("vision"):
            loss = (weight * 2).sin().sum()
            dropped = torch.empty(64, 64, device="meta")
            del dropped
        account.keep("vision", "kept")
        with account.within("vision"):
            later = torch.empty(64, 64, device="meta")
        assert account.totals[Place("prefill", "vision")] == later.nbytes
        # the argument of the sine, and the sum
        assert account.totals[Place("prefill", "kept")] == 64 * 64 * 4 + 4
        account.phase = "backward"
        loss.backward()
        del loss
    assert account.totals[Place("prefill", "kept")] == 0
    assert Place("backward", "vision") in account.work
    assert not [place for place in account.work if place.part == "kept"]


def test_a_product_of_halves_is_none_of_float32_though_it_returns_it() -> None:
    """2 products of [3, 4] and [4, 5]: a card makes them at the rate of half precision."""
    left, right = (torch.empty(2, *size, dtype=torch.bfloat16, device="meta")
                   for size in ((3, 4), (4, 5)))  # fmt: skip
    with Account() as account:
        account.phase = "decode"
        torch.bmm(left, right, out_dtype=torch.float32)
        torch.bmm(left.float(), right.float())
    (place,) = account.work
    products = [work for work in account.work[place] if work.flops]
    assert [(work.flops, work.wide) for work in products] == [(240, False), (240, True)]
