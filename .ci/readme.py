"""Run every block of a Markdown file in order, as a reader pastes them: the file is the test.

    python3 .ci/readme.py README.md

Bash blocks run in a shell of their own, Python blocks one after another in one interpreter of the
virtual environment that the first bash block made. Ends with exit code 1 at the first that fails.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Runs one block for each line of its input, and answers with a line; a failing block ends it.
INTERPRETER = """
import json, sys
here = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "README.md", "exec"), here)
    print("\\0done", flush=True)
"""


def main() -> None:
    blocks = BLOCK.findall(Path(sys.argv[1]).read_text(encoding="utf-8"))
    python = None
    for language, block in blocks:
        print(f"\n== {language}\n{block}", flush=True)
        started = time.monotonic()
        if language == "bash":
            subprocess.run(["bash", "-euo", "pipefail", "-c", block], check=True)
        else:
            python = python or start()
            passed = run(python, block)
            if not passed:
                sys.exit("this block of the README failed")
        print(f"== {time.monotonic() - started:.0f} s", flush=True)


def start() -> subprocess.Popen:
    return subprocess.Popen(
        [".venv/bin/python", "-c", INTERPRETER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def run(python: subprocess.Popen, block: str) -> bool:
    """Run one block in the interpreter, show what it prints, and return whether it passed."""
    python.stdin.write(json.dumps(block) + "\n")
    for line in python.stdout:
        if line == "\0done\n":
            return True
        print(line, end="", flush=True)
    return False


if __name__ == "__main__":
    main()
