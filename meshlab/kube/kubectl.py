"""The user's own kubectl, of which only the version is of interest: the lab itself needs none."""

from __future__ import annotations

import json
import shutil

from meshlab.core.errors import ProcessError
from meshlab.core.process import Runner, SystemRunner


def client_version(runner: Runner | None = None) -> str | None:
    """Ask kubectl for its gitVersion (v1.36.1); None when it is not on PATH.

    Raises ProcessError when it can't tell.
    """
    if shutil.which("kubectl") is None:
        return None
    argv = ["kubectl", "version", "--client", "--output=json"]
    said = (runner or SystemRunner()).run(argv, timeout=20, remedy="take the broken kubectl off PATH").stdout
    try:
        return str(json.loads(said)["clientVersion"]["gitVersion"])
    except (ValueError, KeyError, TypeError) as problem:
        raise ProcessError(f"kubectl told no version: {said[:200]!r}", argv=tuple(argv)) from problem
