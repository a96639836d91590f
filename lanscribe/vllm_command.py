"""How this project starts vLLM: the command line and the environment, out of the settings."""

import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lanscribe import delay, machine, voxtral_files
from lanscribe.config import PROJECT_DIR, LogSettings, Settings, VllmSettings
from lanscribe.errors import ConfigError, EngineUnavailable
from lanscribe.installation import VLLM_LOCK, stamp_fault
from lanscribe.vllm_process import Launch, Watch

PROFILES_DIR = PROJECT_DIR / "config" / "vllm"
SERVER = ("-P", "-m", "vllm.entrypoints.openai.api_server")
KEY_VARIABLE = "VLLM_API_KEY"
_QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""Nothing is fetched, nobody is told."""
_MAX_NUM_SEQS = re.compile(r"(?:^|\s)(?:--)?max[-_]num[-_]seqs[:=\s]\s*(\d+)")


def is_at_hand() -> bool:
    """Whether vLLM and the model are installed, and a card is free to run them."""
    if stamp_fault(VLLM_LOCK) or voxtral_files.fault():
        return False
    verdict = machine.card_verdict()
    return verdict is not None and verdict.will_run


def launch(settings: Settings, environ: Mapping[str, str]) -> Launch:
    """vLLM for the gateway: on this machine only, with a key that nobody else knows.

    Raises ConfigError or EngineUnavailable when it is clear that it cannot run.
    """
    vllm = settings.vllm
    key = secrets.token_hex(32)
    local = ["--host", "127.0.0.1", "--port", str(vllm.port), *flags(vllm)]
    return Launch(
        command=[*command(vllm), *local],
        environment={**environment(environ), KEY_VARIABLE: key},
        folder=PROJECT_DIR,
        watch=watch(vllm, key),
        log_file=_log_file(settings.log),
        log_bytes=settings.log.file_bytes,
        stop_timeout_s=vllm.stop_timeout_s,
    )


def watch(vllm: VllmSettings, api_key: str) -> Watch:
    """Where vLLM answers, or will."""
    url = vllm.url.rstrip("/") or f"http://127.0.0.1:{vllm.port}"
    return Watch(url, api_key, start_timeout_s=vllm.start_timeout_s)


def command(vllm: VllmSettings) -> list[str]:
    """vLLM with the profile and the model. Raises ConfigError or EngineUnavailable."""
    python = PROJECT_DIR / vllm.python
    if not python.exists():
        raise EngineUnavailable(
            f"{python} is not there; bash setup.sh installs vLLM for a card that can run it"
        )
    model = ["--config", str(profile_path(vllm)), "--model", str(model_dir(vllm))]
    return [str(python), *SERVER, *model]


def direct_command(settings: Settings, more: Sequence[str]) -> list[str]:
    """vLLM for the whole network, without the gateway; `more` are flags that overrule."""
    server = settings.server
    address = ["--host", server.host, "--port", str(server.port)]
    return [*command(settings.vllm), *address, *flags(settings.vllm), *more]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """vLLM's environment: this one, without what is lanscribe's."""
    passed = {name: value for name, value in environ.items() if not _is_ours(name)}
    return {**_QUIET, **passed}


def profile_path(vllm: VllmSettings) -> Path:
    """The file of the profile; the one for this card when it is auto.

    Raises ConfigError when there is no such file, EngineUnavailable when there is no such card.
    """
    name = vllm.profile
    if name == "auto":
        verdict = machine.card_verdict()
        if verdict is None or not verdict.profile:
            why = verdict.result if verdict else "there is no NVIDIA card, or no driver for it"
            raise EngineUnavailable(f"vLLM cannot run here: {why}; --engine embedded can")
        name = verdict.profile
    path = PROFILES_DIR / f"{name}.yaml" if "/" not in name else PROJECT_DIR / name
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in PROFILES_DIR.glob("*.yaml")))
        raise ConfigError(f"vllm.profile: got {name!r}; expected auto, {known} or a file's path")
    return path


def model_dir(vllm: VllmSettings) -> Path:
    """The model's folder, with the delay that is wanted. Raises ConfigError."""
    try:
        return delay.folder_for(PROJECT_DIR / vllm.model_dir, vllm.delay_ms)
    except delay.DelayError as error:
        raise ConfigError(f"vllm.model_dir or vllm.delay_ms: {error}") from error


def flags(vllm: VllmSettings) -> list[str]:
    """What the settings add to the profile. Raises ConfigError when it cannot be parsed."""
    try:
        return shlex.split(vllm.arguments)
    except ValueError as error:
        raise ConfigError(f"vllm.arguments: got {vllm.arguments!r}: {error}") from error


def max_num_seqs(command: Sequence[str]) -> int:
    """How many sessions a vLLM that is started so takes at once; 0 when nothing says it."""
    profile = Path(command[command.index("--config") + 1])
    return max_num_seqs_in(profile.read_text(encoding="utf-8"), shlex.join(command))


def max_num_seqs_in(profile: str, arguments: str) -> int:
    """The last word on max-num-seqs in a profile's text and the flags that overrule it."""
    lines = [line.partition("#")[0] for line in profile.splitlines()]
    found = _MAX_NUM_SEQS.findall("\n".join([*lines, arguments]))
    return int(found[-1]) if found else 0


def _is_ours(name: str) -> bool:
    return name.startswith("LANSCRIBE_") or name == "PYTHONPATH"


def _log_file(settings: LogSettings) -> Path | None:
    return (PROJECT_DIR / settings.file).with_name("vllm.log") if settings.file else None
