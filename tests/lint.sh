#!/usr/bin/env bash
# Checks format, lint, types and scripts with the tools that setup.sh --dev installs.
# bash tests/lint.sh --fix also formats, and fixes what ruff can fix.
set -euo pipefail

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BIN="$PROJECT/.venv/bin"

say() { printf '== %s\n' "$*" >&2; }

die() {
  printf 'tests/lint.sh: %s\n' "$*" >&2
  exit "${STATUS:-1}"
}

# step NAME COMMAND...: a step that fails ends the run.
step() {
  local name=$1
  shift
  say "$name"
  "$@" || die "FAILED: $name"
}

require_tools() {
  [[ -x $BIN/ruff && -x $BIN/mypy ]] || die "ruff and mypy are missing: bash setup.sh --dev"
  command -v shellcheck >/dev/null ||
    die "shellcheck is missing: apt-get install shellcheck, or brew install shellcheck"
}

check_scripts() { git ls-files -z -- '*.sh' .ci/run '.githooks/*' | xargs -0 shellcheck; }

fix() {
  "$BIN/ruff" check --fix --quiet || true # the checks below report the rest
  "$BIN/ruff" format --quiet
}

main() {
  cd "$PROJECT"
  case ${1-} in
    "") ;;
    --fix) require_tools && step "fix" fix ;;
    *) STATUS=2 die "unknown argument $1; usage: bash tests/lint.sh [--fix]" ;;
  esac
  require_tools
  step "format" "$BIN/ruff" format --check --quiet
  step "lint" "$BIN/ruff" check --quiet
  step "types" "$BIN/mypy"
  step "scripts" check_scripts
}

main "$@"
