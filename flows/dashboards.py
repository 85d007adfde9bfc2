"""The pages of a lab that is up already: productpage, Prometheus, Grafana, Jaeger and Kiali through port-forwards.

`--cluster local` (by name: --set local.name=…) or `existing` (--context). Sends gentle traffic meanwhile, so that the
pages show something. Held until Ctrl-C; the lab stays as it is. Needs no Prefect: nothing is made, nothing checked.
"""

import sys

from meshlab.cli.dashboards import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="python -m flows.dashboards", about=__doc__))
