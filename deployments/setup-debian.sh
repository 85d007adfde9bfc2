#!/bin/sh
# Install the Debian packages that are missing, and say which. The mirror is whatever apt is set up with.
#   setup-debian.sh FILE            names from a file, one per line, # starts a comment
#   setup-debian.sh --names A B …   names from the command line
set -eu
if [ "${1:-}" = "--names" ]; then
  shift
  wanted="$*"
else
  wanted=$(sed 's/#.*//' "$1")
fi
missing=""
for package in $wanted; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "setup: these Debian packages are missing, and only root can install them:$missing" >&2
  exit 2
fi
echo "setup: installing Debian packages:$missing"
# A package must not start its service: the lab runs a containerd of its own, never the machine's.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT INT TERM
fi
log=$(mktemp)
# A new machine has no package lists, an old one stale lists: try, and refresh them once.
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1; }
install || { apt-get update >"$log" 2>&1 && install; } || {
  tail -n 20 "$log" >&2
  echo "setup: apt-get could not install:$missing" >&2
  exit 2
}
rm -f "$log"
