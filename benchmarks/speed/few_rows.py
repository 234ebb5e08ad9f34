"""Products of few rows on a CPU: torch's own beside oneDNN's, and the time of reading the weights.

    python -m benchmarks.speed.few_rows [steps] [products] [joins]

It writes few_rows.json and FEW_ROWS.md. Times are those of one thread, as its own clock counts
them, so that other programs on the machine do not count; ways take turns, and the least of several
times stands. It takes some minutes and 8 GB for a model as large as Qwen2-VL-2B.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import publishing
from benchmarks.speed import shapes
from benchmarks.speed.shapes import SHAPES, Shape
from vrft.attention import group_attention
from vrft.config.rollout import SamplingConfig
from vrft.demo import tiny
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.policy import onednn
from vrft.policy.decode_step import strategy_for
from vrft.policy.sampling import sample
from vrft.types import Prompt

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "few_rows.json", FOLDER / "FEW_ROWS.md"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
STEPS, ROWS, MANY = (1, 4, 16), (1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16, 32, 64, 256)
WAYS, KINDS = ("torch", "in place", "copied"), ("qkv", "gate and up")
CACHE = 2**27
"""Bytes of weights of which each is read in turn, so that none is in a cache from before."""
ROUNDS, TOKENS = 8, 3
LARGE, SMALL = "2b", "cpu-third"
"""The shapes: Qwen2-VL-2B's, and the one that ``benchmarks.speed`` trains on a CPU."""


def main(argv: Sequence[str]) -> int:
    """Measure the parts that are named, or all, and write both files.

    Parts that are not named stay as they were measured last; each says by which commit.
    """
    torch.set_num_threads(1)
    if unknown := set(argv) - set(PARTS):
        print(
            f"error: no part is named {sorted(unknown)[0]!r}: {', '.join(PARTS)}", file=sys.stderr
        )
        return 2
    if not all(onednn.reads_in_place(dtype) for dtype in PRECISIONS.values()):
        print("error: oneDNN does not compute in float32 and bfloat16 here", file=sys.stderr)
        return 2
    for part in argv or PARTS:
        result = {
            "commit": publishing.commit(),
            "versions": publishing.versions(["vrft", "torch", "transformers", "platform"]),
            "processor": processor(),
            "cases": PARTS[part](),
        }
        measured = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        measured[part] = result
        RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        if set(PARTS) <= set(measured):
            PAGE.write_text(page(measured), encoding="utf-8")
    return 0


def processor() -> str:
    """Return the processor's name and those of its units that count here."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    fields = {
        name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)
    }
    units = [unit for unit in ("avx512f", "avx512_bf16", "amx_bf16") if unit in fields["flags"]]
    return f"{fields['model name']} ({', '.join(units)})"


def least(ways: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the least milliseconds of each function, of which each runs once in a round."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            best[name] = min(best[name], 1000 * (time.process_time() - began))
    return best


def reading(weight: Tensor) -> Tensor:
    """Read a weight from end to end, as numbers of four bytes: sums in bfloat16 are slow."""
    return weight.detach().view(torch.float32).sum()


@torch.no_grad()
def layer_products(shape: Shape, precision: str, many: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the times of a shape's two largest kinds of layers, at several numbers of rows."""
    dtype = PRECISIONS[precision]
    results: list[dict[str, Any]] = []
    for width, narrow in ((shape.inner, shape.hidden), (shape.hidden, shape.inner)):
        number = max(1, CACHE // (width * narrow * dtype.itemsize))
        weights = [torch.randn(width, narrow, dtype=dtype) for _ in range(number)]
        copies = [onednn.packed_product(weight, None, dtype) for weight in weights]
        for rows in many:
            ways = product_ways(weights, copies, torch.randn(rows, narrow, dtype=dtype))
            case = {"dtype": precision, "weight": [width, narrow], "rows": rows}
            results.append(case | least(ways, ROUNDS * (2 if rows < 64 else 1)))
    return results


def product_ways(
    weights: list[Tensor], copies: list[onednn.Product], hidden: Tensor
) -> dict[str, Callable[[], object]]:
    """Return the ways in which a product is measured, each of the next weight at every call."""
    turn = itertools.cycle(range(len(weights)))
    return {
        "read": lambda: reading(weights[next(turn)]),
        "torch": lambda: F.linear(hidden, weights[next(turn)]),
        "in place": lambda: onednn.product_in_place(weights[next(turn)], None, hidden),
        "copied": lambda: copies[next(turn)](hidden),
    }


def joins(shape: Shape, rows: int) -> dict[str, Any]:
    """Return the times of q, k, v and of gate and up, apart and in one product each."""
    head, width = shape.head_size * shape.kv_heads, shape.hidden
    sizes = dict(zip(KINDS, ((width, head, head), (shape.inner, shape.inner)), strict=True))
    times = {kind: join_times(width, parts, rows, kind == "qkv") for kind, parts in sizes.items()}
    return {"shape": shape.name, "rows": rows, **times}


@torch.no_grad()
def join_times(width: int, sizes: tuple[int, ...], rows: int, bias: bool) -> dict[str, float]:
    """Return the times of layers of ``width`` inputs that give ``sizes`` outputs."""
    hidden = torch.randn(rows, width)
    number = max(1, min(8, CACHE // (4 * width * sum(sizes))))  # read in turn
    layers = [[nn.Linear(width, size, bias=bias) for size in sizes] for _ in range(number)]
    with onednn.prepacked(nn.ModuleList(itertools.chain(*layers))) as products:
        together = [products.joined(*parts) for parts in layers]
        turn = itertools.cycle(range(number))
        ways: dict[str, Callable[[], object]] = {
            "apart": lambda: [part(hidden) for part in layers[next(turn)]],
            "joined": lambda: together[next(turn)](hidden),
        }
        return least(ways, 5 * ROUNDS)


def decode_steps(shape: Shape, many: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the times of a token of so many rows in a decoder of the shape, in both precisions."""
    loaded = decoder(shape)
    results: list[dict[str, Any]] = []
    for name, dtype in PRECISIONS.items():
        loaded.core.to(dtype)
        read = least({"read": lambda: [reading(part) for part in loaded.core.parameters()]}, 3)
        size = sum(part.nbytes for part in loaded.core.parameters())  # the embedding is the head
        for rows in many:
            case = {"dtype": name, "rows": rows, "bytes": size}
            results.append(case | read | token_times(loaded, rows))
    return results


def decoder(shape: Shape) -> LoadedModel:
    """Make a text model of the shape with random weights, without writing it to disk."""
    shape = replace(shape, family="qwen2")
    words = shapes.tokenizer(shape.vocabulary)
    torch.manual_seed(0)
    model = tiny.MODELS[shape.family](shapes.config_of(shape, words)).eval()
    model.generation_config.eos_token_id = words.eos_token_id
    loaded = LoadedModel(model, words, FAMILIES[shape.family])
    group_attention.install(loaded.language_model)
    return loaded


def token_times(loaded: LoadedModel, rows: int, rounds: int = 2) -> dict[str, float]:
    """Return the milliseconds of one more token of all rows, by torch and by our own rollout.

    A rollout of one token passes the prompt alone; the others' time is what a longer one adds.
    """
    own = strategy_for(loaded, graphs=False)
    strategies = {"torch": replace(own, prepare=lambda model: nullcontext()), "ours": own}
    prompt = [encoding.encode(loaded, Prompt("Where?"))]

    def rollout(name: str, tokens: int) -> Callable[[], object]:
        sampling = SamplingConfig(max_completion_length=tokens)
        return lambda: sample(loaded, prompt, rows, sampling, [1], strategies[name])

    ways = {f"{name} {length}": rollout(name, length) for name in strategies
            for length in (1, 1 + TOKENS)}  # fmt: skip
    best = least(ways, rounds)
    return {name: (best[f"{name} {1 + TOKENS}"] - best[f"{name} 1"]) / TOKENS
            for name in strategies}  # fmt: skip


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "steps": lambda: decode_steps(SHAPES[LARGE], STEPS),
    "products": lambda: [
        case
        for name, shape in itertools.product(PRECISIONS, (LARGE, SMALL))
        for case in layer_products(SHAPES[shape], name, MANY)
    ],
    "joins": lambda: [joins(SHAPES[shape], rows) for shape in (SMALL, LARGE) for rows in ROWS],
}
"""What is measured, in the order of the page."""


def source(part: Mapping[str, Any]) -> str:
    """Return where and with what a part was measured."""
    versions = ", ".join(f"{name} {value}" for name, value in part["versions"].items())
    return f"Commit {part['commit']}; {versions}; {part['processor']}."


def page(measured: dict[str, Any]) -> str:
    """Return the page of the results."""
    times = "(times that of reading)"
    steps = publishing.markdown(
        ["weights", "rows", "reading", f"torch {times}", f"ours {times}"],
        [[case["dtype"], case["rows"], f"{case['read']:.0f}",
          *(f"{case[way]:.0f} ({case[way] / case['read']:.1f})" for way in ("torch", "ours"))]
         for case in measured["steps"]["cases"]],
    )  # fmt: skip
    products = publishing.markdown(
        ["weights", "layer", "rows", "reading", *(f"{way} {times}" for way in WAYS)],
        [[case["dtype"], " x ".join(map(str, case["weight"])), case["rows"], f"{case['read']:.2f}",
          *(f"{case[way]:.2f} ({case[way] / case['read']:.1f})" for way in WAYS)]
         for case in measured["products"]["cases"]],
    )  # fmt: skip
    pairs = [(kind, way) for kind in KINDS for way in ("apart", "joined")]
    together = publishing.markdown(
        ["shape", "rows", *(f"{kind}, {way}" for kind, way in pairs)],
        [[case["shape"], case["rows"], *(f"{1000 * case[kind][way]:.0f}" for kind, way in pairs)]
         for case in measured["joins"]["cases"]],
    )  # fmt: skip
    size = measured["steps"]["cases"][0]["bytes"]
    return f"""# Products of few rows on a CPU

Made by `python -m benchmarks.speed.few_rows` from what it has measured; not edited by hand. One
thread; milliseconds of the processor's time, the least of several rounds in which all ways take
turns. Weights are random.

## One token in a decoder as large as Qwen2-VL-2B's

All layers and the head, {size / 1e9:.1f} GB in float32; a rollout of one prompt by
`vrft.policy.sampling`, with torch's products and with those of `vrft.policy.onednn`, which reads
the weights of so large a model where they lie. Reading is a sum over all weights.

{steps}

{source(measured["steps"])}

## One layer

Two kinds of layers of Qwen2-VL-2B's shape and of `{SMALL}`'s, of which so many are read in turn
that they leave the processor's caches, as in a model. "In place": oneDNN reads the weight as torch
has it. "Copied": a copy in oneDNN's own layout, as smaller models have it during a rollout.

{products}

{source(measured["products"])}

## Layers that read the same hidden states

Microseconds of q, k and v, and of gate and up, as models below the limit of copying have them: each
by itself, and in one product of their weights side by side. k and v of `{SMALL}` are multiplied by
torch where they are by themselves, as they are small.

{together}

{source(measured["joins"])}
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
