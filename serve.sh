#!/usr/bin/env bash
# Runs the server, in the environment that setup.sh made, or another word of the program
# (lanscribe/admin/commands.py). The flags are the program's own; it takes this process over, so
# Ctrl-C, signals and the exit status are its own too.
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
       bash serve.sh WORD [flags]

Runs lanscribe until Ctrl-C. First: bash setup.sh. Without flags it listens on port 8000 of all
addresses of this machine, for the home network, and for who has the key in config/key.
config/lanscribe.toml has every setting.
On an NVIDIA card vLLM is started beside it, and again if it fails; logs/vllm.log has its words.

  --direct  vLLM's own server for the network, without lanscribe in front of it
  help      this text, and after setup every WORD and every flag
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
  in_venv -m lanscribe installation quick embedded 2>&1 || true
}

help() {
  usage
  if [[ -z $(setup_fault) ]]; then
    printf '\n'
    in_venv -m lanscribe help
    printf '\n'
    in_venv -m lanscribe serve --help
  fi
}

# wants_help ARGUMENTS: a word has a help of its own.
wants_help() {
  local argument
  [[ ${1-} != help ]] || return 0
  [[ ${1--} == -* ]] || return 1
  for argument in "$@"; do
    case $argument in -h | --help) return 0 ;; esac
  done
  return 1
}

main() {
  local fault
  local -a command=(-m lanscribe serve)
  trap 'exit 130' INT # until the server takes over
  if wants_help "$@"; then help && exit 0; fi
  fault=$(setup_fault)
  [[ -z $fault ]] || die "lanscribe is not set up in this folder" "${fault##*$'\n'}" "bash setup.sh"
  case ${1--} in
    --direct) shift && command=(-m lanscribe direct) ;;
    -*) ;;
    *) command=(-m lanscribe) ;;
  esac
  PYTHONPATH="$PROJECT" exec "$PYTHON" -P "${command[@]}" "$@"
}

main "$@"
