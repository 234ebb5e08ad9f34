"""The command ``vrft view``: runs and evaluations in a page, on this machine or in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def view(args: argparse.Namespace) -> int:
    """Serve runs and evaluations until Ctrl-C, or write them to a folder, and print the address."""
    import threading
    import webbrowser

    from vrft.viewer import export, serve, views

    site = views.open_site(args.paths, live=args.follow)
    if args.export:
        page = export.export(site, args.export)
        print(f"page: {page}")
        return 0
    with serve.server(site, args.port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if args.open:
            # The browser asks while this thread is already answering.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``vrft view``."""
    verb.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN|EVAL|FILE",
        help="runs with their evaluations, folders of evaluations, files of predictions",
    )
    verb.add_argument("--export", type=Path, metavar="DIR", help="write a folder, serve nothing")
    verb.add_argument("--follow", action="store_true", help="follow a run that goes on")
    verb.add_argument("--port", type=int, default=0, metavar="N", help="default: any free one")
    verb.add_argument("--open", action="store_true", help="open it in the browser too")
