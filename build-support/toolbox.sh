# Sourced by the scripts beside it and by the launcher: a Python to run them with, and the tools they need.

toolbox_python() {
  local candidate
  for candidate in python3.11 python3.12 python3; do
    if "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "CPython 3.11 or 3.12 with the venv module is needed; install it first." >&2
  return 1
}

# Prints the folder of a virtual environment with the tools of toolbox.lock, made at the first call.
toolbox() {
  local lock home python
  lock="$(dirname "${BASH_SOURCE[0]}")/../3rdparty/python/toolbox.lock"
  home="${XDG_CACHE_HOME:-$HOME/.cache}/streamproof/toolbox-$(sha256sum "$lock" | cut -c1-12)"
  if [ ! -e "$home/complete" ]; then
    mkdir -p "$(dirname "$home")"
    (
      set -e
      flock 6
      [ ! -e "$home/complete" ] || exit 0
      python="$(toolbox_python)"
      "$python" -m venv --clear --without-pip "$home" >&2
      # The pip of the interpreter spares the folder one of its own, which takes longer than the tools themselves.
      if ! "$python" -m pip --python "$home/bin/python" --version >/dev/null 2>&1; then
        "$home/bin/python" -m ensurepip >/dev/null
        python="$home/bin/python"
      fi
      "$python" -m pip --python "$home/bin/python" install --quiet --quiet --disable-pip-version-check \
        --require-hashes -r "$lock" >&2
      touch "$home/complete"
    ) 6>"$home.lock" || return 1
  fi
  printf '%s\n' "$home"
}
