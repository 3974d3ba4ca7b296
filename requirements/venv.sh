#!/bin/sh
# Make or update .venv from pinned, hashed requirements: `sh requirements/venv.sh control` or `… test`.
# Called by make, which skips it when nothing changed. Needs only what a bare server has: a Python, or apt to get one.
set -eu
cd "$(dirname "$0")/.."
set_name=$1
venv=.venv

say() { printf '%s\n' "$*" >&2; }
die() { say "Error: $*"; exit 1; }

# Return whether .venv was made from the present requirements.
is_current() {
  for part in requirements/*.txt requirements/venv.sh; do
    [ "$venv/.made-$set_name" -nt "$part" ] || return 1
  done
}

# Print the newest Python from 3.11 on for which the given test code succeeds.
newest_python() {
  for candidate in python3.14 python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
    if "$candidate" -c "import sys; assert sys.version_info >= (3, 11); $1" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

apt_install() {
  say "Python's module venv is missing: installing $* with apt-get."
  command -v apt-get >/dev/null || die "no apt-get here; install $* your own way, then run make again."
  sudo=
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "run this as root once, then make again: apt-get install $*"
    sudo=sudo
  fi
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install $*; fix what it reports above, then run make again."
}

find_python() {
  newest_python 'import ensurepip, venv' && return
  # Debian splits venv off each Python; a Python that came from elsewhere brings its own.
  if found=$(newest_python ''); then
    version=$("$found" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    apt_install "$version-venv"
  else
    apt_install python3 python3-venv
  fi
  newest_python 'import ensurepip, venv' && return
  die "no Python from 3.11 on was found ($(python3 --version 2>&1 || true)); Ansible needs one on the machine that runs" \
    "make. Install python3.11 and python3.11-venv or newer (Debian 12 and 13 have it as python3), then run make again."
}

# One at a time: another make in the same clone may be making what this one needs.
if command -v flock >/dev/null; then
  exec 9<.
  flock -n 9 || { say "Another make is preparing .venv; waiting for it."; flock 9; }
fi
is_current && exit 0

# The machine's own certificates know a site's proxy or mirror; pip and uv would otherwise bring their own.
bundle=/etc/ssl/certs/ca-certificates.crt
[ -z "${PIP_CERT:-}" ] && [ -e "$bundle" ] && export PIP_CERT="$bundle"
export UV_SYSTEM_CERTS=1

if ! "$venv/bin/python" -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null; then
  python=$(find_python)
  say "+ $python -m venv $venv"
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi
if ! "$venv/bin/uv" --version 2>/dev/null | grep -qF "uv $(sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements/uv.txt)"; then
  say "+ pip install --require-hashes -r requirements/uv.txt"
  "$venv/bin/python" -m pip install -q --require-hashes -r requirements/uv.txt
fi

# uv does not read pip's settings; an index that the site gave to pip is meant for this too.
if [ -z "${UV_DEFAULT_INDEX:-}" ]; then
  index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
  [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
fi

rm -f "$venv"/.made-*
say "+ uv pip sync --require-hashes requirements/$set_name.txt"
"$venv/bin/uv" pip sync -q --python "$venv/bin/python" --require-hashes "requirements/$set_name.txt"

# Ansible starts in half the time with compiled modules, and an environment may forbid Python to write them on import.
# The collections that nobody here imports are left out: they are nine tenths of the files.
env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -m compileall -q -x 'ansible_collections/(?!community/docker)' \
  "$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null || true

touch "$venv/.made-$set_name"
# The tests' environment holds everything of the control machine's, at the same versions.
[ "$set_name" = control ] || touch "$venv/.made-control"
