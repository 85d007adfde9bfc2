"""`python -m tests.fakes.gke`: the emulated cloud as a process of its own, alone or in front of a local cluster."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from tests.fakes.gke.books import Books
from tests.fakes.gke.emulator import running
from tests.fakes.gke.local import Local, balance, books_of, until_gone


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.gke", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=9090, help="of the gRPC API; REST is on the port after it"
    )
    parser.add_argument("--books", type=Path, help="file that keeps the books over a restart")
    parser.add_argument("--local", metavar="NAME", help="name of a local cluster to put behind the API")
    parser.add_argument("--network", default="10.195", help="first two octets of that cluster's /16")
    options = parser.parse_args(arguments)
    backend = Local(options.local, options.network) if options.local else None
    books = books_of(backend) if backend else Books()
    books.file = options.books
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    with running(books, port=options.port, rest_port=options.port + 1) as emulator:
        print(f"gRPC on {emulator.api}, REST on {emulator.compute}", flush=True)
        if backend:
            threading.Thread(target=balance, args=(books, backend, stop), daemon=True).start()
        stop.wait()
        until_gone(books, 60)
    print(
        json.dumps({"left": books.left(), "calls": {c: books.calls.count(c) for c in set(books.calls)}}),
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
