#!/usr/bin/env bash
# Runs the server, or another word of the program (lanscribe/admin/commands.py), in the environment
# that setup.sh made. The program reads the flags and replaces this process, so Ctrl-C, signals and
# the exit status are its own.
set -euo pipefail

# The folder of this script, also when it is called through links; macOS may lack readlink -f.
PROJECT=$(self=${BASH_SOURCE[0]}
  while [[ -L $self ]]; do cd "$(dirname "$self")" && self=$(readlink "$(basename "$self")"); done
  cd "$(dirname "$self")" && pwd -P)
PYTHON="$PROJECT/.venv/bin/python"

# die WHAT WHY NEXT: what failed, why, and what to do next.
die() {
  printf 'serve: %s\n       why:  %s\n       next: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
usage: bash serve.sh [--port N] [--model base-en|tiny-en] [--auth lan|key|open]
                     [--tls auto|own|off] [--tls-cert FILE --tls-key FILE]
                     [--max-model-len N] [--gpu-memory-utilization F] [more flags]
       bash serve.sh --direct [--port N] [--host H] [--max-model-len N]
                              [--gpu-memory-utilization F] [more flags of vLLM's]
       bash serve.sh WORD [flags]

Runs lanscribe until Ctrl-C. First: bash setup.sh. Without flags it listens on port 8000 of all
addresses of this machine, and on 8443 for https, and admits the home network and clients with the
key in config/key. config/lanscribe.toml has every setting.
On an NVIDIA card it starts vLLM too, and restarts it if it fails; logs/vllm.log has vLLM's output.

  --direct  run vLLM's own server for the network, without lanscribe in front of it
  help      print this text, and after setup every WORD and every flag
TEXT
}

# -P and PYTHONPATH: Python finds the project from any folder, and imports nothing from that one.
in_venv() { PYTHONPATH="$PROJECT" "$PYTHON" -P "$@"; }

setup_fault() {
  if [[ -L $PYTHON && ! -x $PYTHON ]]; then
    printf 'the Python that .venv was made with is gone, or this user cannot run it\n'
    return
  fi
  [[ -x $PYTHON ]] || { printf 'there is no .venv here\n' && return; }
  in_venv -m lanscribe installation quick embedded 2>&1 || true
}

help() {
  { : 3>&1; } 2>/dev/null || die 'the help cannot be written' 'stdout is closed' 'run it in a terminal'
  usage
  if [[ -z $(setup_fault) ]]; then
    printf '\n'
    in_venv -m lanscribe help
    printf '\n'
    in_venv -m lanscribe serve --help
  fi
}

# wants_help ARGUMENTS: whether to print this script's help; each word prints its own.
wants_help() {
  local argument
  [[ ${1-} != help ]] || return 0
  [[ ${1--} == -* ]] || return 1
  for argument in "$@"; do
    case $argument in -h | --help) return 0 ;; esac
  done
  return 1
}

# Sets WORD and FLAGS from the arguments: without a word it serves, with --direct anywhere vLLM.
read_arguments() {
  local argument
  WORD=() FLAGS=()
  if [[ ${1--} != -* ]]; then FLAGS=("$@") && return; fi
  WORD=(serve)
  for argument in "$@"; do
    if [[ $argument == --direct ]]; then WORD=(direct); else FLAGS+=("$argument"); fi
  done
}

main() {
  local fault
  trap 'exit 130' INT # until the server takes over
  if wants_help "$@"; then help && exit 0; fi
  fault=$(setup_fault)
  [[ -z $fault ]] || die "lanscribe is not set up in this folder" "${fault##*$'\n'}" "bash setup.sh"
  read_arguments "$@"
  PYTHONPATH="$PROJECT" exec "$PYTHON" -P -m lanscribe ${WORD[@]+"${WORD[@]}"} ${FLAGS[@]+"${FLAGS[@]}"}
}

main "$@"
