"""The command ``vrft view``: runs and evaluations in a page, on this machine or in a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.viewer.site import Site


def view(args: argparse.Namespace) -> int:
    """Serve runs and evaluations until Ctrl-C, or write them to a folder, and print the address.

    A run's ledger is told in a line, and so is each evaluation, or ledger, that cannot be read.
    """
    from vrft.viewer import views

    site = views.open_site(args.paths, live=args.follow)
    for shown in site.views.values():
        if isinstance(shown, views.UnreadableView):
            print(f"note: {shown.title} is not shown: {shown.problem}", file=sys.stderr)
    for path in args.paths:
        say_difficulty(path)
    if args.export:
        write_page(site, args.export)
    else:
        serve_page(site, args.port, in_browser=args.open)
    return 0


def say_difficulty(path: Path) -> None:
    """Print what a run's ledger says, or why it cannot be read; nothing for a path without one."""
    from vrft.diagnosis import difficulty

    try:
        line = difficulty.line(path)
    except UserError as error:
        print(f"note: {error}", file=sys.stderr)
    else:
        if line:
            print(line)


def write_page(site: Site, folder: Path) -> None:
    """Write a site to a folder, and print where its page lies."""
    from vrft.viewer import export

    print(f"page: {export.export(site, folder)}")


def serve_page(site: Site, port: int, *, in_browser: bool) -> None:
    """Serve a site until Ctrl-C and print its address, which is opened ``in_browser`` too."""
    import threading
    import webbrowser

    from vrft.viewer import serve

    with serve.server(site, port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if in_browser:
            # The browser asks while this thread is already answering.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``vrft view``."""
    verb.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN|EVAL|FILE",
        help="runs with their evaluations, folders of runs or evaluations, files of predictions",
    )
    verb.add_argument("--export", type=Path, metavar="DIR", help="write a folder, serve nothing")
    verb.add_argument("--follow", action="store_true", help="follow a run that goes on")
    verb.add_argument("--port", type=int, default=0, metavar="N", help="default: any free one")
    verb.add_argument("--open", action="store_true", help="open it in the browser too")
