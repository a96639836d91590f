"""Carries vLLM to a machine that has a card, a driver and CUDA's libraries, but no network.

    python -m bench.gpu_pack --out FOLDER [--python 3.12] [--part-mib 52]
    bash FOLDER/unpack.sh SITE PARTS...     on the machine with the card; prints what to export

The locked packages of requirements/vllm.txt are installed for another Python into a folder.
What this model never imports is left out, and so are CUDA's own libraries: that machine has
them from any PyTorch of the same CUDA version. The rest is compressed and cut into parts to
carry one by one, which unpack.sh puts together. This needs uv, strip and xz, that machine xz
and a C compiler.

With the same left out, vLLM 0.33.0 with PyTorch 2.14 loaded a model in 4 bits and set up its
caches on a machine with PyTorch 2.11 and one H200. NCCL's newer functions, which one card never
calls, are a stub. vLLM's warm-up of kernels is left out, because it imports every model, and
flashinfer's sampler is switched off.
"""

import argparse
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOCK = PROJECT_DIR / "requirements" / "vllm.txt"
PLATFORM = "x86_64-manylinux_2_39"
LEFT_OUT = re.compile(
    r"(nvidia-(?!ml-py)|cuda-|flashinfer|tilelang|z3-solver|quack|tokenspeed|pynvvideo|opencv"
    r"|torchvision|torchaudio|torchcodec|nccl|humming|agent-detector|fastapi-cloud|sentry"
    r"|detect-installer|instanttensor|fastsafetensors)"
)
"""Packages that vLLM imports for other models only, and CUDA's libraries."""
ALSO = ("jiwer", "rapidfuzz", "av", "flatbuffers", "ifaddr", "langcodes", "onnxruntime", "zeroconf")
"""What the gateway and the benchmark import besides, at the versions of this environment."""
PRUNED = (
    *("vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so", "vllm/third_party/deep_gemm", "vllm/vllm-rs"),
    *("triton/backends/nvidia/lib/cupti*", "triton/backends/nvidia/bin/ptxas-blackwell"),
    *("triton/instrumentation", "triton/plugins", "triton/FileCheck", "triton/_C/libproton.so"),
    *("triton/backends/amd/lib", "torch/include", "torch/test", "torch/share", "torch/bin/protoc*"),
    *("bitsandbytes/libbitsandbytes_cuda1[012]*", "pycountry/locales", "anthropic"),
)
"""Large parts that a card before Blackwell does without; attention is FlashAttention 2's, as on an
RTX 3060."""
STUB = """

def kernel_warmup(worker, *, process_local_only=False):
    return None
"""
ENTRY_POINT = "[vllm.general_plugins]\nlanscribe = lanscribe.vllm.plugin.registration:register\n"
UNPACK = """#!/usr/bin/env bash
# bash unpack.sh SITE PARTS...: puts the parts together in the folder SITE.
set -euo pipefail
SITE=$1
shift
mkdir -p "$SITE"
cat "$@" | xz --decompress --stdout --threads=0 | tar -C "$SITE" -xf -
NVIDIA=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])')
ln -sfn "$NVIDIA" "$SITE/nvidia"
# One card never calls these functions; a PyTorch may be newer than the NCCL that is there.
symbols() { nm -D "$1" "$2" | sed 's/@.*//' | awk '{print $NF}' | grep '^nccl' | sort -u; }
comm -23 <(symbols --undefined-only "$SITE/torch/lib/libtorch_cuda.so") \\
  <(symbols --defined-only "$NVIDIA/nccl/lib/libnccl.so.2") |
  awk 'BEGIN {print "#include <stdlib.h>"} {print "int " $1 "(void) { abort(); }"}' >"$SITE/shim.c"
gcc -shared -fPIC -o "$SITE/libshim.so" "$SITE/shim.c"
# Not a virtual environment's python3, whose packages would be found first.
PYTHON=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
"$PYTHON" -m compileall -q -j 0 "$SITE" >/dev/null || true
cat <<END
export VLLM_PYTHON=$PYTHON LD_PRELOAD=$SITE/libshim.so PYTHONPATH=$SITE:$PWD
export LD_LIBRARY_PATH=$(printf '%s:' "$NVIDIA"/*/lib)${LD_LIBRARY_PATH:-}
export VLLM_USE_FLASHINFER_SAMPLER=0 PYTHONUNBUFFERED=1
END
"""


def wanted() -> list[str]:
    """The locked packages to carry, as NAME==VERSION."""
    locked = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", LOCK.read_text("utf-8"), re.MULTILINE)
    named = [f"{name}=={version}" for name, version in locked if not LEFT_OUT.match(name)]
    return [*named, *(f"{name}=={installed(name)}" for name in ALSO)]


def installed(name: str) -> str:
    """The version of a package in this environment."""
    return metadata.version(name)


def fill(site: Path, python: str) -> None:
    """Install the packages for `python` into `site`, and leave out what is not needed there."""
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    command += ["--python-version", python, "--python-platform", PLATFORM, *wanted()]
    subprocess.run(command, check=True)
    for pattern in PRUNED:
        for path in site.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for library in ("triton/_C/libtriton.so", "llvmlite/binding/libllvmlite.so"):
        subprocess.run(["strip", "--strip-unneeded", str(site / library)], check=True)
    with (site / "vllm/model_executor/warmup/kernel_warmup.py").open("a", encoding="utf-8") as file:
        file.write(STUB)
    own = site / "lanscribe-0.1.0.dist-info"
    own.mkdir()
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: lanscribe\nVersion: 0.1.0\n")
    (own / "entry_points.txt").write_text(ENTRY_POINT)


def pack(out: Path, python: str, part_mib: int) -> None:
    """Write the parts and unpack.sh into the folder `out`."""
    site = out / "site"
    site.mkdir(parents=True)
    fill(site, python)
    tar = subprocess.Popen(["tar", "-C", str(site), "-cf", "-", "."], stdout=subprocess.PIPE)
    xz = subprocess.Popen(["xz", "-T0", "-3"], stdin=tar.stdout, stdout=subprocess.PIPE)
    split = ["split", "--bytes", f"{part_mib}MiB", "--numeric-suffixes", "-", str(out / "part-")]
    subprocess.run(split, stdin=xz.stdout, check=True)
    if tar.wait() or xz.wait():
        raise SystemExit(f"tar ended with {tar.returncode}, xz with {xz.returncode}")
    shutil.rmtree(site)
    (out / "unpack.sh").write_text(UNPACK, encoding="utf-8")
    parts = sorted(out.glob("part-*"))
    size_mib = sum(part.stat().st_size for part in parts) >> 20
    print(f"{out}: {len(parts)} parts, {size_mib} MiB; then: bash unpack.sh SITE part-*")


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(prog="bench.gpu_pack", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--python", default="3.12", help="of the machine with the card")
    parser.add_argument("--part-mib", type=int, default=52)
    options = parser.parse_args()
    pack(options.out, options.python, options.part_mib)


if __name__ == "__main__":
    main()
