#!/usr/bin/env bash
# Runs every check, even in a fresh clone: sets up what they need, then runs tests/lint.sh and the
# tests, and prints which branches of the package they leave out.
# bash tests/run.sh --quick    while you work: a minute, no network, no real model, no set-up
# bash tests/run.sh --cover    the quick tests, and which branches they leave out
# bash tests/run.sh --long     before a release: the tests that take minutes, for half an hour
# Other arguments, and those after --quick, go to pytest: bash tests/run.sh -k session
set -euo pipefail

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BIN="$PROJECT/.venv/bin"
# For the scripts; a virtual sound card, for the microphone client; browsers, with a tool for the
# certificates that they trust; networks and another finder of services, for what is announced there.
DEBIAN_PACKAGES=(
  shellcheck libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils
  chromium firefox-esr libnss3-tools iproute2 avahi-daemon avahi-utils dbus
)

say() { printf '== %s\n' "$*" >&2; }

die() {
  printf 'tests/run.sh: %s\n' "$*" >&2
  exit 1
}

# step NAME COMMAND...: a step that fails ends the run.
step() {
  local name=$1
  shift
  say "$name"
  "$@" || die "FAILED: $name"
}

missing_packages() {
  local package
  for package in "${DEBIAN_PACKAGES[@]}"; do
    dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null |
      grep -qx installed || printf '%s ' "$package"
  done
}

apt_get() {
  local log
  log=$(mktemp)
  DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$log" 2>&1 || { cat "$log" >&2 && return 1; }
  rm "$log"
}

# On systems other than Debian the tests that need a sound card are skipped.
system_packages() {
  local missing
  if ! command -v apt-get >/dev/null; then
    command -v shellcheck >/dev/null || die "shellcheck is missing: brew install shellcheck"
    return
  fi
  read -ra missing <<<"$(missing_packages)"
  ((${#missing[@]})) || return 0
  ((EUID == 0)) || die "packages are missing: sudo apt-get install ${missing[*]}"
  apt_get update && apt_get install --yes --no-install-recommends "${missing[@]}"
}

require_setup() {
  "$BIN/python" -c 'import coverage, pytest, xdist' 2>/dev/null ||
    die "the test tools are not installed, and --quick does not install them; bash setup.sh --dev"
}

quick() {
  require_setup
  bash tests/lint.sh
  say "quick tests"
  exec "$BIN/python" -m pytest -n 4 --quick --quiet "$@"
}

# pytest prints its summary last.
whole() {
  step "system packages" system_packages
  step "setup" bash setup.sh --dev
  bash tests/lint.sh
  (($#)) || set -- -p tests.cover
  say "tests"
  exec "$BIN/python" -m pytest -n 3 "$@"
}

main() {
  cd "$PROJECT"
  unset PYTHONDONTWRITEBYTECODE # hundreds of processes would compile the same modules
  case ${1-} in
    --quick) quick "${@:2}" ;;
    --cover) quick -p tests.cover "${@:2}" ;;
    *) whole "$@" ;;
  esac
}

main "$@"
