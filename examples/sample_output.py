"""Runs the examples of README.md and writes what they print beneath them: `python examples/sample_output.py`.

An example is a fenced block `console`, whose lines beginning with "$ " are commands, or a block `python` followed by a
block `text`. Run it again when the bundled checkpoint changes.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
PYTHON = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.M | re.S)


def output(command: list[str], folder: Path, code: str | None = None) -> str:
    """What a command prints on standard output, run in a folder that shows the repository's files.

    Raises:
        RuntimeError: The command failed.
    """
    done = subprocess.run(
        command, cwd=folder, input=code, capture_output=True, text=True, env=os.environ | {"FAKEDET_MODEL": ""}
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{code or ''}{done.stderr[-2000:]}")
    return done.stdout.rstrip() + "\n"


def with_output(page: str) -> str:
    """The page with what its examples print now."""
    with tempfile.TemporaryDirectory() as name:  # examples may write files
        folder = Path(name)
        for item in ("README.md", "fakedet", "examples"):
            (folder / item).symlink_to(ROOT / item)

        def console(match: re.Match) -> str:
            lines = []
            for line in re.findall(r"^\$ (.*)$", match[1], re.M):
                words = shlex.split(line, comments=True)
                words[0] = sys.executable if words[0] == "python" else words[0]
                lines += [f"$ {line}\n", output(words, folder)]
            return f"```console\n{''.join(lines)}```"

        def python(match: re.Match) -> str:
            return f"```python\n{match[1]}```\n\n```text\n{output([sys.executable, '-'], folder, match[1])}```"

        return PYTHON.sub(python, CONSOLE.sub(console, page))


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_output(readme.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{readme.name}: the output of its examples is written anew")
