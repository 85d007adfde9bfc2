"""Files that are whole or absent, and readable by their owner only where they hold a key."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Write a file through a temporary one beside it, so that a reader never sees half of it.

    Args:
        path: The file. Its folder is made.
        content: All of it; text is written as UTF-8.
        mode: Its permissions.
        durable: Whether it is on the disk when this returns, for what must survive a power loss.

    Raises:
        OSError: The folder or the file can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as sink:
            os.fchmod(sink.fileno(), mode)
            sink.write(data)
            if durable:
                sink.flush()
                os.fsync(sink.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
