"""The shell loop that runs inside the pod, and the lines it writes.

POSIX shell only: the official image has busybox sh, the embedded one dash. Lines on its standard output:

    B <leftovers>                              begun, after so many loops of earlier runs were ended
    R <number> <status> <seconds> <exit code>  one request; the number is written before it is sent
    E <sent>                                   ended by itself, after so many requests
    X <why>                                    can't run here

A request's status is HTTP's, or ECHOED for a TCP payload that came back; 000 is none.
"""

from __future__ import annotations

import math
import random
import shlex
from collections.abc import Sequence

from meshlab.app.curl import command

MARK = "meshlab-loop-"
JITTERS = 64  # different pauses, used in turn
SLICE = 0.25  # seconds of a pause after which the loop looks whether it is to stop
LEFTOVER_WAIT = 20  # seconds for an earlier loop to finish its request
ECHOED = "echo"  # the status of a TCP payload that came back
TCP = "telnet://"  # scheme of a URL that is asked for an echo over TCP
# Istio's TLS detection on a PERMISSIVE port waits for 5 bytes.
PAYLOAD = "hello mesh"
ECHO_SECONDS = 1.0  # that a TCP connection is kept: curl, which has no end of input, hangs up after it

# A connection of the TCP loop: curl's exit code 28 (it hung up when the time was over) is as it should be
# when the payload came back.
ECHO = r"""said=$(printf '%s\n' @PAYLOAD@ |
    curl -sS --max-time @SECONDS@ -w '\n%{time_total}' @URL@ 2>/dev/null)
  code=$?
  case "$said" in *@PAYLOAD@*) status=@ECHOED@ code=0 ;; *) status=000 ;; esac
  printf '%s %s' "$status" "${said##*
}"
  (exit "$code")"""

# A word or the end of the standard input ends the loop after the request that is under way: a reader in
# the background sends TERM to the shell alone, whose trap runs when curl is done. So the loop also ends
# when the connection is cut because the program at its other end was killed. Output goes to a pipe nobody
# reads then: SIGPIPE ends the shell. The trap ends a pause itself, since the word may come between the
# look at `stop` and the wait.
LOOP = r"""
command -v curl >/dev/null || { echo "X there is no curl in this container"; exit 127; }
old=""
for proc in /proc/[0-9]*; do
  line=$(tr '\0' ' ' 2>/dev/null <"$proc/cmdline")
  case "$line" in
    *" @RUN@"*) ;;
    *" @MARK@"*) old="$old ${proc#/proc/}" ;;
  esac
done
ended=0
for pid in $old; do kill -TERM "$pid" 2>/dev/null && ended=$((ended + 1)); done
tries=0
for pid in $old; do
  while [ -n "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" ]; do
    tries=$((tries + 1))
    [ "$tries" -gt @TRIES@ ] && kill -KILL "$pid" 2>/dev/null
    sleep 0.2
  done
done
stop=0
n=0
trap 'stop=1' TERM
exec 3<&0 </dev/null
{ read -r _ <&3; kill -TERM $$; } >/dev/null 2>&1 &
reader=$!
exec 3<&-
echo "B $ended"
while [ "$stop" -eq 0 ]; do
  n=$((n + 1))
  printf 'R %s ' "$n"
  @REQUEST@
  printf ' %s\n' "$?"
  [ "$n" -eq @COUNT@ ] && break
  [ "$stop" -eq 0 ] || break
  pause=$1
  shift
  set -- "$@" "$pause"
  left=${pause%:*}
  while [ "$left" -gt 0 ] && [ "$stop" -eq 0 ]; do
    left=$((left - 1))
    sleep "${pause#*:}"
  done
done
kill -KILL "$reader" 2>/dev/null
wait
echo "E $n"
"""


def loop_argv(
    url: str,
    *,
    run: str,
    name: str,
    interval: float | tuple[float, float],
    count: int | None,
    request_timeout: float,
) -> list[str]:
    """Build the command of a loop.

    url: http://…, or telnet://HOST:PORT to have a TCP server echo a line. run: loops of other runs are
    leftovers and are ended first; name: unique in the run. interval: seconds between requests, or the range
    from which each pause is drawn. count: end after so many.
    """
    own = f"{MARK}{run}-"
    plain = f"{command(timeout=request_timeout, options=('-o', '/dev/null'))} {shlex.quote(url)}"
    request = _echo(url) if url.startswith(TCP) else plain
    script = (
        LOOP.replace("@RUN@", own)
        .replace("@MARK@", MARK)
        .replace("@TRIES@", str(LEFTOVER_WAIT * 5))
        .replace("@COUNT@", str(count or 0))
        .replace("@REQUEST@", request)
    )
    return ["sh", "-c", script, f"{own}{name}", *map(_sliced, pauses(interval, own + name))]


def _sliced(pause: float) -> str:
    """A pause as the script wants it: how many slices, and the seconds of each."""
    slices = math.ceil(pause / SLICE)
    return f"{slices}:{pause / max(slices, 1):.4f}"


def _echo(url: str) -> str:
    return (
        ECHO.replace("@PAYLOAD@", shlex.quote(PAYLOAD))
        .replace("@SECONDS@", f"{ECHO_SECONDS:g}")
        .replace("@URL@", shlex.quote(url))
        .replace("@ECHOED@", ECHOED)
    )


def pauses(interval: float | tuple[float, float], seed: str) -> Sequence[float]:
    """The pauses of a loop in seconds, to be used in turn: one, or 64 drawn evenly from a range."""
    if isinstance(interval, tuple):
        draw = random.Random(seed)
        return [draw.uniform(*interval) for _ in range(JITTERS)]
    return [interval]
