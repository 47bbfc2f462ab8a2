# Sourced by the scripts beside it: a Python to run them with and the uv that compiles the locks.

toolbox_python() {
  local candidate
  for candidate in python3.11 python3.12 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "CPython 3.11 or 3.12 is needed; install it first." >&2
  return 1
}

toolbox_uv() {
  local lock home
  lock="$(dirname "${BASH_SOURCE[0]}")/../3rdparty/python/uv.lock"
  home="${XDG_CACHE_HOME:-$HOME/.cache}/streamproof/uv-$(sha256sum "$lock" | cut -c1-12)"
  if [ ! -x "$home/bin/uv" ]; then
    "$(toolbox_python)" -m venv "$home" >&2
    "$home/bin/pip" install --quiet --quiet --disable-pip-version-check --require-hashes -r "$lock" >&2
  fi
  printf '%s\n' "$home/bin/uv"
}
