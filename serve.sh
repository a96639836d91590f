#!/usr/bin/env bash
# Runs the server, in the environment that setup.sh made. The flags are the server's own; it
# takes this process over, so Ctrl-C, signals and the exit status are its own too. From another
# terminal: stop, restart, status (lanscribe/admin/control.py).
set -euo pipefail

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
PYTHON="$PROJECT/.venv/bin/python"

# die WHAT WHY NEXT: what failed, why, and what to do next.
die() {
  printf 'serve: %s\n       why:  %s\n       next: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
usage: bash serve.sh [--port N] [--model base-en|tiny-en] [--auth lan|key|open]
                     [--tls-cert FILE --tls-key FILE] [more flags]
       bash serve.sh --direct [--port N] [--host H] [--max-model-len N]
                              [--gpu-memory-utilization F] [more flags of vLLM's]
       bash serve.sh stop|restart|status [--port N]

Runs lanscribe until Ctrl-C. First: bash setup.sh. Without flags it listens on port 8000 of all
addresses of this machine, for the home network, and for who has the key in config/key.
config/lanscribe.toml has every setting.
On an NVIDIA card vLLM is started beside it, and again if it fails; logs/vllm.log has its words.

  --direct             vLLM's own server for the network, without lanscribe in front of it
  stop restart status  for what runs from this folder, or of that the server on one port
TEXT
}

# -P and PYTHONPATH: the project is found from any folder, and nothing in that folder is.
in_venv() { PYTHONPATH="$PROJECT" "$PYTHON" -P "$@"; }

setup_fault() {
  if [[ -L $PYTHON && ! -x $PYTHON ]]; then
    printf 'the Python that .venv was made with is gone, or not for this user\n'
    return
  fi
  [[ -x $PYTHON ]] || { printf 'there is no .venv here\n' && return; }
  in_venv -m lanscribe.installation quick embedded 2>&1 || true
}

help() {
  usage
  if [[ -z $(setup_fault) ]]; then
    printf '\n'
    in_venv -m lanscribe serve --help
  fi
}

main() {
  local argument fault
  local -a command=(-m lanscribe serve)
  trap 'exit 130' INT # until the server takes over
  for argument in "$@"; do
    case $argument in -h | --help) help && exit 0 ;; esac
  done
  fault=$(setup_fault)
  [[ -z $fault ]] || die "lanscribe is not set up in this folder" "${fault##*$'\n'}" "bash setup.sh"
  case ${1-} in
    stop | restart | status) command=(-m lanscribe.admin.control) ;;
    --direct) shift && command=(-m lanscribe direct) ;;
  esac
  PYTHONPATH="$PROJECT" exec "$PYTHON" -P "${command[@]}" "$@"
}

main "$@"
