"""What stands in for NVIDIA's package pynvml in a process of a test: a file for its PYTHONPATH."""

from pathlib import Path

NO_PACKAGE = 'raise ModuleNotFoundError("No module named \'pynvml\'", name="pynvml")\n'
NO_DRIVER = """
class NVMLError(Exception):
    pass

def nvmlInit():
    raise NVMLError("NVML Shared Library Not Found")
"""
_CARDS = """
from types import SimpleNamespace

class NVMLError(Exception):
    pass

CARDS = {cards!r}

def _refuse(*_):
    raise NVMLError("Not Supported")

def nvmlInit(): pass
def nvmlDeviceGetCount(): return len(CARDS)
def nvmlDeviceGetHandleByIndex(number): return CARDS[number]
def nvmlDeviceGetName(card): return card["name"]
def nvmlDeviceGetUUID(card): return card["uuid"]
def nvmlDeviceGetCudaComputeCapability(card): return card["capability"]
def nvmlSystemGetDriverVersion(): return CARDS[0]["driver"]
def nvmlDeviceGetMigMode(card):
    return [card["mig"], card["mig"]] if "mig" in card else _refuse()

def nvmlDeviceGetMemoryInfo(card):
    if card["total_mib"] is None:
        _refuse()
    return SimpleNamespace(total=card["total_mib"] << 20, free=card["free_mib"] << 20)

def _processes(kind):
    def ask(card):
        if card.get("processes") is None:
            raise NVMLError("Not Supported")
        return [
            SimpleNamespace(pid=pid, usedGpuMemory=None if mib is None else mib << 20)
            for pid, (found, _, mib) in card["processes"].items()
            if found == kind
        ]
    return ask

nvmlDeviceGetComputeRunningProcesses = _processes("C")
nvmlDeviceGetGraphicsRunningProcesses = _processes("G")

def nvmlSystemGetProcessName(pid):
    name = CARDS[0]["processes"][pid][1]
    return name if name else _refuse()

def nvmlSystemGetCudaDriverVersion_v2():
    return CARDS[0]["cuda"] or _refuse()
"""
RTX_3060: dict[str, object] = {
    "name": "NVIDIA GeForce RTX 3060",
    "uuid": "GPU-5d8c2a6e",
    "total_mib": 12288,
    "free_mib": 11804,
    "capability": (8, 6),
    "driver": "580.95.05",
    "cuda": 13000,
    "processes": {},
}


def put_nvml(folder: Path, *cards: dict[str, object]) -> None:
    """Let programs with this folder on their PYTHONPATH find these cards."""
    (folder / "pynvml.py").write_text(_CARDS.format(cards=list(cards)))


def put_large_disk(folder: Path) -> None:
    """Let Python programs with this folder on their PYTHONPATH find 100 GB of free space."""
    lines = [
        "import shutil",
        "usage = type(shutil.disk_usage('/'))(200 * 10**9, 100 * 10**9, 100 * 10**9)",
        "shutil.disk_usage = lambda _: usage",
    ]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n")
