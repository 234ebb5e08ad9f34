"""The command ``vrft prompts``: the requests of a benchmark, for a batch service.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse

from vrft.cli import next_commands
from vrft.cli.endpoint import is_setting
from vrft.cli.evaluated_task import benchmark_of, named_task
from vrft.errors import UserError


def prompts(args: argparse.Namespace) -> int:
    """Write the requests of a benchmark for a batch service."""
    if args.benchmark is None and args.data is None and not named_task(args.settings):
        raise UserError("give --benchmark NAME, or --data with your own rows; `vrft eval --list` "
                        "lists the benchmarks")  # fmt: skip
    from vrft.endpoints.batch_requests import MEGABYTE, MOST_REQUESTS
    from vrft.endpoints.endpoint_settings import load_endpoint
    from vrft.evaluation import endpoint

    words = [word for word in args.settings if is_setting(word)]
    asked = load_endpoint(words, model=args.model, processor=args.processor)
    name, args.model = args.model, None  # that of a server, and of no run here
    benchmark = benchmark_of(args, [word for word in args.settings if word not in words])
    files = endpoint.write_prompts(
        benchmark,
        asked,
        args.out,
        limit=args.limit,
        blank_images=args.blank_images,
        max_bytes=args.max_size * MEGABYTE,
    )
    for file in files:
        print(f"requests: {file}")
    if len(files) > 1:
        most = f"{args.max_size} MB and {MOST_REQUESTS:,} requests"
        print(f"note: {len(files)} files, as one has at most {most} (--max-size)")
    if name is None:
        print("note: the requests name no model; --model NAME writes it into them")
    next_commands.say(*next_commands.after_prompts(args, args.settings))
    return 0
