#!/usr/bin/env bash
# Installs everything lanscribe needs into this folder, and verifies it: the pinned packages in
# .venv, those for an NVIDIA card in .venv-vllm, and models in models/. It changes nothing outside
# the folder. It runs on bash 3.2, the version of macOS.
set -euo pipefail

# The folder of this script, also when it is called through links; macOS may lack readlink -f.
PROJECT=$(self=${BASH_SOURCE[0]}
  while [[ -L $self ]]; do cd "$(dirname "$self")" && self=$(readlink "$(basename "$self")"); done
  cd "$(dirname "$self")" && pwd -P)
VENV="$PROJECT/.venv"
NEEDED_MB=1000 # .venv 250, a model 200 with its conversion, pip's temporary files the same again
PYTHON="" PINS=embedded MODEL=""
VOXTRAL="" CHOSEN="" VOXTRAL_DIR="" # the outcome of vllm-setup; the folder of its model
TASK=set_up
DOCTOR_FLAG=""
CHANGED=no
QUIETLY='import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); import' # Ctrl-C: no traceback

say() { printf 'setup: %s\n' "$*" >&2; }
warn() { printf 'setup: warning: %s\n' "$*" >&2; }

# die WHAT WHY NEXT: what failed, why, and what to do next.
die() {
  printf 'setup: %s\n       why:  %s\n       next: %s\n' "$1" "$2" "$3" >&2
  exit 1
}

usage() {
  cat <<'TEXT'
usage: bash setup.sh [--model base-en|tiny-en] [--model-dir DIR] [--cpu] [--dev]
       bash setup.sh --check [--json]

Installs all that lanscribe needs into this folder: packages into .venv, the model into models/.
A second run checks that everything is there and changes nothing. Run it again after an update,
an interrupted run or a move of the folder. It needs no root and changes nothing elsewhere.

  --model NAME  the model of the CPU engine: base-en or tiny-en; tiny-en takes half the computing
                and makes more errors (default: the model in the settings, base-en)
  --model-dir DIR  take Voxtral, the model for an NVIDIA card, from DIR: do not download it
  --cpu         do not set up an NVIDIA card
  --dev         also install what the tests need
  --check       change nothing; say what is installed, what is wrong and what to do about it
  --json        with --check: print JSON, for programs
  --help        print this text

pip gets the packages from its configured source (PIP_* variables, pip.conf). Without a network:
PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER bash setup.sh; requirements/README.md says more.
TEXT
}

wrong_usage() {
  printf 'setup: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

parse_arguments() {
  while (($#)); do
    case $1 in
      --model) [[ ${2-} == base-en || ${2-} == tiny-en ]] || wrong_usage "--model takes base-en or tiny-en, not '${2-}'"
        MODEL=$2
        shift ;;
      --model-dir) [[ -d ${2-} ]] || wrong_usage "--model-dir takes an existing folder, not '${2-}'"
        VOXTRAL_DIR=$2 && shift ;;
      --cpu) VOXTRAL=none ;;
      --dev) PINS=dev ;;
      --check) TASK=check ;;
      --json) DOCTOR_FLAG=--json ;;
      -h | --help) usage && exit 0 ;;
      *) wrong_usage "unknown argument: $1" ;;
    esac
    shift
  done
  [[ -z $DOCTOR_FLAG || $TASK == check ]] || wrong_usage "--json goes with --check"
}

# install_hint DEBIAN_PACKAGES BREW_FORMULA: the command that installs them here.
install_hint() {
  if command -v apt-get >/dev/null; then
    printf 'sudo apt install %s' "$1"
  elif [[ $(uname -s) == Darwin ]]; then
    printf 'brew install %s' "$2"
  else
    printf 'install %s (the name in Debian) with the package manager' "$1"
  fi
}

# Whether every pinned package has a wheel for this version of Python.
is_recent() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

can_make_venvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Sets PYTHON; prefers one that can make environments.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    is_recent "$candidate" || continue
    PYTHON=${PYTHON:-$candidate}
    can_make_venvs "$candidate" || continue
    PYTHON=$candidate
    return
  done
  [[ -n $PYTHON ]] || die "no suitable Python" \
    "expected Python 3.11, 3.12, 3.13 or 3.14; found: $(python3 --version 2>&1 || true)" \
    "$(install_hint 'python3.11 python3.11-venv' python@3.13), then: bash setup.sh"
}

require_venv_module() {
  local version
  if can_make_venvs "$PYTHON"; then return; fi
  version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  die "cannot make a Python environment" "$PYTHON ($version) lacks the module ensurepip" \
    "$(install_hint "python$version-venv" "python@$version"), then: bash setup.sh"
}

# Ends, or warns of a card that will not be used, before anything is downloaded.
require_fit_machine() { PYTHONPATH="$PROJECT" "$PYTHON" -P -m lanscribe fitness || exit 1; }

require_space() {
  local free_mb
  # the column before the first percentage: the columns before it may contain spaces
  free_mb=$(df -Pk "$PROJECT" |
    awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+%$/) { print int($(i - 1) / 1024); exit } }')
  ((free_mb >= NEEDED_MB)) || die "not enough space on the disk" \
    "$free_mb MB are free in $PROJECT, $NEEDED_MB MB are needed" "free some space, then: bash setup.sh"
}

# One setup at a time. The kernel releases the lock when the last process that holds it ends,
# however it ends. Python takes it because macOS has no flock command.
take_turn() {
  local lock="$PROJECT/.cache/setup.lock"
  { mkdir -p "$PROJECT/.cache" && (: >>"$lock"); } 2>/dev/null ||
    die "cannot write into $PROJECT" "it, or .cache in it, belongs to somebody else or is read-only" \
      "make yourself its owner, or clone lanscribe into a folder of yours"
  exec 9>>"$lock"
  "$PYTHON" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
    die "another setup is running in this folder" "two at once would damage each other's files" \
      "wait until it has ended, then: bash setup.sh"
}

# -P and PYTHONPATH: Python finds the project from any folder, and imports nothing from that one.
in_venv() { PYTHONPATH="$PROJECT" PIP_USER=0 "$VENV/bin/python" -P "$@"; }

venv_is_sound() {
  local fault
  [[ -d $VENV ]] || return 1
  if fault=$(in_venv -m lanscribe installation verify "$PINS" 2>&1); then return 0; fi
  say "$1: ${fault##*$'\n'}"
  return 1
}

# Removes the stamp first and writes it last, so that an interrupted run leaves none.
build_venv() {
  require_venv_module
  require_fit_machine
  require_space
  rm -f "$VENV/lanscribe-setup.json"
  rm -rf "$VENV"
  say "making .venv with $("$PYTHON" --version)"
  "$PYTHON" -c "$QUIETLY venv; venv.main()" "$VENV" >&2 || die "cannot make a Python environment" \
    "$PYTHON cannot make one; see the lines above" "correct that, then: bash setup.sh"
  install_packages
  in_venv -m lanscribe installation write "$PINS"
  CHANGED=yes
  venv_is_sound "wrong in .venv" || die "the packages do not work on this machine" \
    "see the line above" "correct that, or report it; another bash setup.sh alone changes nothing"
}

install_packages() {
  local quiet=(--quiet)
  if [[ -t 2 ]]; then quiet=(--progress-bar on); fi
  say "installing requirements/$PINS.txt (about 130 MB, unless pip has them already)"
  in_venv -m pip install "${quiet[@]}" --disable-pip-version-check --no-input \
    --require-hashes --only-binary :all: -r "$PROJECT/requirements/$PINS.txt" >&2 ||
    die "cannot install the packages" "see the lines above: most often no network, or no space here or in ${TMPDIR:-/tmp}" \
      "correct that, then: bash setup.sh (pip does not download again what it has)"
}

configured_model() {
  in_venv -m lanscribe print-env | sed -n 's/^LANSCRIBE_ENGINE_MODEL=//p'
}

model() { in_venv -m lanscribe models "$1" "$MODEL" >&2; }

put_model_in_place() {
  local configured
  configured=$(configured_model) || die "the settings cannot be read" "see the line above" \
    "correct the value it names, then: bash setup.sh"
  MODEL=${MODEL:-$configured}
  if ! model check 2>/dev/null; then
    require_space
    say "installing the model $MODEL (about 65 MB, unless pip has it already)"
    model install || die "cannot install the model $MODEL" "see the lines above" \
      "correct that, then: bash setup.sh (finished steps are not repeated)"
    CHANGED=yes
  fi
  if [[ $MODEL != "$configured" ]]; then
    say "the settings name $configured; to serve $MODEL: bash serve.sh --model $MODEL"
  fi
}

set_up_voxtral() {
  [[ -z $VOXTRAL ]] || return 0
  VOXTRAL=$(in_venv -m lanscribe vllm-setup ${VOXTRAL_DIR:+--model-dir "$VOXTRAL_DIR"}) ||
    die "cannot set up the NVIDIA card" "see above" "bash setup.sh; or without it: bash setup.sh --cpu"
  [[ $VOXTRAL != changed ]] || CHANGED=yes
}

doctor() { PYTHONPATH="$PROJECT" "$1" -P -m lanscribe doctor "${@:2}"; }

# Runs the doctor with the environment's own Python, or any suitable one if that does not run.
check() {
  local python="$VENV/bin/python"
  trap - INT TERM # a check leaves nothing unfinished
  "$python" -c '' 2>/dev/null || { find_python && python=$PYTHON; }
  doctor "$python" ${DOCTOR_FLAG:+"$DOCTOR_FLAG"}
}

set_up() {
  local told
  find_python
  take_turn
  venv_is_sound "rebuilding .venv" || build_venv
  if [[ ! -e $PROJECT/config/key ]]; then # it prints only if the settings' key_file is there already
    told=$(in_venv -m lanscribe key make) || die "cannot make a key" "see the line above" "correct that, then: bash setup.sh"
    [[ -n $told ]] || CHANGED=yes
  fi
  put_model_in_place
  set_up_voxtral
  doctor "$VENV/bin/python" --only gpu --only portaudio >&2 || warn "see the lines above"
  [[ $VOXTRAL == none || $VOXTRAL == unusable ]] || CHOSEN="Voxtral on the NVIDIA card, and "
  if [[ $CHANGED == yes ]]; then
    say "done: ${CHOSEN}the embedded CPU engine with the model $MODEL"
  else
    say "nothing to do: the packages and the model $MODEL are in place and intact"
  fi
  say "next: bash serve.sh"
}

main() {
  parse_arguments "$@"
  [[ -z ${SUDO_USER-} ]] || warn "sudo is not needed; all that it makes will belong to root"
  trap 'warn "interrupted; to install the rest: bash setup.sh"; exit 130' INT TERM
  "$TASK"
}

main "$@"
