"""Earlier runs: list them, draw a measure over them, find flaky checks, compare two, name incidents.

No flow, and no Prefect: the history is a file (setting `history.path`) that every flow writes at its end.
"""

import sys

from meshlab.cli.history import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="python -m flows.history", about=__doc__))
