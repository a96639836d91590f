"""Small packages that stand in for vLLM's gigabytes, and the lock file that pins them."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

SETUPTOOLS = "setuptools==80.10.2"
"""As in requirements/vllm.txt: it makes lanscribe's plugin known to vLLM."""
MODULES = {
    "vllm": "",
    "torch": "import os\n"
    "class cuda:\n"
    "    is_available = staticmethod(lambda: 'BROKEN_TORCH' not in os.environ)\n",
}


def make_wheels(folder: Path) -> None:
    """Fill a folder with everything that `write_lock` pins."""
    folder.mkdir(exist_ok=True)
    for name, text in MODULES.items():
        _write_wheel(folder / f"{name}-1.0-py3-none-any.whl", name, text)
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    download += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*download, SETUPTOOLS], check=True)


def write_lock(path: Path, wheels: Path) -> None:
    """A lock file for these packages by their hashes."""
    lines = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if name in {*MODULES, "setuptools"}:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    path.write_text("".join(lines))


def _write_wheel(path: Path, name: str, text: str) -> None:
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,{len(content)}\n" for member, content in files.items())
    record += f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(member, content)
