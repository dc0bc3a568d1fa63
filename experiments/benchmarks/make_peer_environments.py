"""Make one virtual environment a peer, from the package index, for the benchmarks to run them in.

    python experiments/benchmarks/make_peer_environments.py           # all of them
    python experiments/benchmarks/make_peer_environments.py nnterp    # one

The peers pin versions of transformers and torch that exclude each other and this package, so each
lives alone, in ``experiments/benchmarks/.peers/NAME``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"
TORCH = "torch==2.13.0"
PACKAGES = {
    "nnterp": ["nnterp", "nnsight<0.8"],
    "steering-vectors": ["steering-vectors", "transformers<5"],
    "repeng": ["repeng", "transformers<5"],
}


def python_of(peer: str) -> Path:
    return FOLDER / peer / "bin" / "python"


def make(peer: str) -> None:
    venv.create(FOLDER / peer, with_pip=True, clear=True)
    pip = [str(python_of(peer)), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, TORCH, "numpy", "safetensors", *PACKAGES[peer]], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", help=f"any of {', '.join(PACKAGES)}; all by default")
    args = parser.parse_args()
    unknown = set(args.peers) - set(PACKAGES)
    if unknown:
        sys.exit(f"unknown peers: {', '.join(sorted(unknown))}; known: {', '.join(PACKAGES)}")
    for peer in args.peers or PACKAGES:
        print(f"{peer}: installing", flush=True)
        make(peer)
        print(f"{peer}: {python_of(peer)}", flush=True)


if __name__ == "__main__":
    main()
