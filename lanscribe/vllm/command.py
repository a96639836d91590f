"""How this project starts vLLM: builds the command line and the environment from the settings."""

import logging
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lanscribe import PROJECT_DIR
from lanscribe.config import LogSettings, Settings, VllmSettings
from lanscribe.errors import ConfigError, EngineUnavailable
from lanscribe.installation import VLLM_LOCK, stamp_fault
from lanscribe.vllm import RUST_FRONTEND
from lanscribe.vllm.process import Launch, Watch
from lanscribe.voxtral import delay, gpu
from lanscribe.voxtral import files as voxtral_files
from lanscribe.voxtral.asked import Asked
from lanscribe.voxtral.plan import PROFILES
from lanscribe.voxtral.verdict import Verdict

log = logging.getLogger(__name__)

PROFILES_DIR = PROJECT_DIR / "config" / "vllm"
SERVER = ("-P", "-m", "vllm.entrypoints.openai.api_server")
KEY_VARIABLE = "VLLM_API_KEY"
CARDS_VARIABLE = "CUDA_VISIBLE_DEVICES"
_DEFAULTS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}
"""No downloads, no usage reports, and cards are numbered as in nvidia-smi."""
_FIXED = {RUST_FRONTEND: "0"}
"""A later vLLM may make that frontend the default."""
_ON_WSL = {"VLLM_WSL2_ENABLE_PIN_MEMORY": "1"}
"""Without it, vLLM 0.32 and 0.33 exit with "UVA is not available" on WSL2."""
_NO_CARD = f"there is no NVIDIA card, or no driver for it, or {CARDS_VARIABLE} hides it"


def is_at_hand(vllm: VllmSettings) -> bool:
    """Whether a vLLM can be used: on another server, or installed here with a card free to run it.

    If vLLM is installed but cannot run, logs the reason.
    """
    if vllm.url:
        return True
    if stamp_fault(VLLM_LOCK):
        return False
    why = _model_fault(vllm) or _card_fault(vllm)
    if why:
        log.warning("Voxtral cannot be served now: %s; the CPU engine serves, in English only", why)
    return not why


def launch(settings: Settings, environ: Mapping[str, str]) -> Launch:
    """vLLM for the gateway: reachable from this machine only, with a random secret key.

    Raises ConfigError or EngineUnavailable when vLLM clearly cannot run.
    """
    vllm = settings.vllm
    key = secrets.token_hex(32)
    own, variables = start(vllm, flags(vllm), environ)
    return Launch(
        command=[*own, "--host", "127.0.0.1", "--port", str(vllm.port), *flags(vllm)],
        environment={**variables, KEY_VARIABLE: key},
        folder=PROJECT_DIR,
        watch=watch(vllm, key),
        log_file=_log_file(settings.log),
    )


def watch(vllm: VllmSettings, api_key: str) -> Watch:
    """The address and the key at which vLLM answers, now or once it has started."""
    url = vllm.url.rstrip("/") or f"http://127.0.0.1:{vllm.port}"
    return Watch(url, api_key, start_timeout_s=vllm.start_timeout_s)


def start(
    vllm: VllmSettings, further: Sequence[str], environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """vLLM's command with profile and model, and its environment, for the card present now.

    further: the flags that the caller appends. Raises ConfigError or EngineUnavailable.
    """
    python = PROJECT_DIR / vllm.python
    if not python.exists():
        raise EngineUnavailable(
            f"{python} is not there; bash setup.sh installs vLLM for a card that can run it"
        )
    verdict = card(vllm)
    profile = profile_path(vllm, verdict)
    model = ["--config", str(profile), "--model", str(model_dir(vllm))]
    share = _share(profile, verdict, further, vllm.max_model_len)
    command = [str(python), *SERVER, *model, *share]
    device = _device(verdict, further)
    return command, environment(environ, device, is_wsl=gpu.is_here_wsl())


def direct(
    settings: Settings, more: Sequence[str], environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """vLLM for the whole network, without the gateway; the flags in `more` take precedence."""
    server = settings.server
    further = [*flags(settings.vllm), *more]
    own, variables = start(settings.vllm, further, environ)
    return [*own, "--host", server.host, "--port", str(server.port), *further], variables


def environment(
    environ: Mapping[str, str], device: str = "", *, is_wsl: bool = False
) -> dict[str, str]:
    """vLLM's environment: ours without lanscribe's variables, and with only one card visible."""
    passed = {name: value for name, value in environ.items() if not _is_ours(name)}
    added = {**_DEFAULTS, **(_ON_WSL if is_wsl else {})}
    return {**added, **passed, **_FIXED, **({CARDS_VARIABLE: device} if device else {})}


def card(vllm: VllmSettings) -> Verdict | None:
    """Whether the NVIDIA card can run the configured profile now."""
    return gpu.card_verdict(PROJECT_DIR, "--to-start", profile=vllm.profile, asked=asked(vllm))


def asked(vllm: VllmSettings) -> Asked:
    """The sizes that the settings give in place of the planner's."""
    return Asked(vllm.max_model_len, vllm.gpu_memory_utilization)


def note_on_asked(settings: Settings) -> str:
    """One line if the settings ask for sizes of vLLM's and vLLM is not started here, or empty.

    Raises ConfigError if they cannot fit into the card.
    """
    vllm, engine = settings.vllm, settings.engine.name
    flags_asked = asked(vllm).flags
    if not flags_asked:
        return ""
    told = f"{' '.join(flags_asked)}: no effect"
    if vllm.url:
        return f"{told} on the vLLM at {vllm.url}, which runs already"
    if engine not in {"auto", "vllm"}:
        return f"{told} with the engine {engine}"
    verdict = card(vllm)
    if verdict is not None and verdict.refusal:
        raise ConfigError(verdict.refusal)
    if engine == "auto" and (why := _why_not_here(vllm, verdict)):
        return f"{told} with the embedded engine, which serves here: {why}"
    return ""


def _why_not_here(vllm: VllmSettings, verdict: Verdict | None) -> str:
    """Why auto does not choose vLLM on this machine now; empty if it does."""
    if verdict is None:
        return _NO_CARD
    if verdict.profile and stamp_fault(VLLM_LOCK):
        return "vLLM is not set up; bash setup.sh does that"
    return _model_fault(vllm) or _hindrance(verdict) or ""


def profile_path(vllm: VllmSettings, verdict: Verdict | None) -> Path:
    """The file of the profile; for auto, the profile of this card.

    Raises ConfigError if the file is absent, EngineUnavailable if no card has a profile.
    """
    name = vllm.profile
    if name == "auto":
        if verdict is None or not verdict.profile:
            why = verdict.result if verdict else _NO_CARD
            raise EngineUnavailable(f"vLLM cannot run here: {why}; --engine embedded can")
        name = verdict.profile
    path = path_of(name) if "/" not in name else PROJECT_DIR / name
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in PROFILES_DIR.glob("*.yaml")))
        raise ConfigError(f"vllm.profile: got {name!r}; expected auto, {known} or a file's path")
    return path


def model_dir(vllm: VllmSettings) -> Path:
    """The folder of the model with the configured delay. Raises ConfigError."""
    try:
        return delay.folder_for(PROJECT_DIR / vllm.model_dir, vllm.delay_ms)
    except delay.DelayError as error:
        raise ConfigError(f"vllm.model_dir or vllm.delay_ms: {error}") from error


def flags(vllm: VllmSettings) -> list[str]:
    """The flags that the settings add to the profile. Raises ConfigError if parsing fails."""
    try:
        return [*shlex.split(vllm.arguments), *asked(vllm).flags]
    except ValueError as error:
        raise ConfigError(f"vllm.arguments: got {vllm.arguments!r}: {error}") from error


def max_num_seqs(command: Sequence[str]) -> int:
    """How many sessions vLLM accepts at once with this command; 0 if it is not set."""
    profile = Path(command[command.index("--config") + 1])
    return max_num_seqs_in(profile.read_text(encoding="utf-8"), shlex.join(command))


def max_num_seqs_in(profile: str, arguments: str) -> int:
    """The same, from a profile's text and the flags that override it."""
    return int(last_word("max-num-seqs", profile, arguments) or 0)


def last_word(option: str, profile: str, arguments: str) -> str:
    """The last number given for an option, which takes effect; empty if there is none."""
    lines = [line.partition("#")[0] for line in profile.splitlines()]
    name = option.replace("-", "[-_]")
    pattern = rf"(?:^|\s)(?:--)?{name}[:=\s]\s*(\d[\d.]*)"
    found = re.findall(pattern, "\n".join([*lines, arguments]))
    return str(found[-1]) if found else ""


def _share(
    profile: Path, verdict: Verdict | None, further: Sequence[str], max_model_len: int
) -> list[str]:
    """The flag for this card's memory share; none if the profile's sizes differ from the plan.

    max_model_len: what the plan has in place of the profile's, unless 0.
    """
    if verdict is None or not verdict.gpu_memory_utilization:
        return []
    sizes = {path_of(one.name): one.sizes for one in PROFILES}.get(profile, {})
    if sizes and max_model_len:
        sizes["max-model-len"] = max_model_len
    text, arguments = profile.read_text(encoding="utf-8"), shlex.join(further)
    if not sizes or any(
        last_word(name, text, arguments) != str(value) for name, value in sizes.items()
    ):
        return []
    log.info("vLLM gets %s of the card's memory", verdict.gpu_memory_utilization)
    return ["--gpu-memory-utilization", str(verdict.gpu_memory_utilization)]


def path_of(profile: str) -> Path:
    """The file of one of this project's profiles."""
    return PROFILES_DIR / f"{profile}.yaml"


def _device(verdict: Verdict | None, further: Sequence[str]) -> str:
    """The card for vLLM; empty if there is only one, or if vLLM is to use several."""
    if verdict is None or any("parallel" in flag for flag in further):
        return ""
    return verdict.device


def _model_fault(vllm: VllmSettings) -> str | None:
    folder = PROJECT_DIR / vllm.model_dir
    if folder == voxtral_files.MODEL_DIR:
        return voxtral_files.fault()
    why = voxtral_files.copy_fault(folder)
    return f"vllm.model_dir: {folder}: {why}" if why else None


def _card_fault(vllm: VllmSettings) -> str | None:
    verdict = card(vllm)
    return _NO_CARD if verdict is None else _hindrance(verdict)


def _hindrance(verdict: Verdict) -> str | None:
    return None if verdict.will_run else f"{verdict.result}; {verdict.remedy}".rstrip("; ")


def _is_ours(name: str) -> bool:
    return name.startswith("LANSCRIBE_") or name == "PYTHONPATH"


def _log_file(settings: LogSettings) -> Path | None:
    return (PROJECT_DIR / settings.file).with_name("vllm.log") if settings.file else None
