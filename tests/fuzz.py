"""Mutation fuzzer over small valid pictures: every byte string must be read or refused by type, in bounds.

    python tests/fuzz.py --seconds 60 [--jobs 1] [--seed 0] [--folder MORE_PICTURES] [--targets images provenance]
    python tests/fuzz.py --replay artifacts/fuzz/FILE

Each worker is a process under a memory limit. Every input is written to a file before it is tried, so a crash or a hang
in a C library leaves it behind; failing inputs are kept in artifacts/fuzz. A finding is a crash, an exception that is
not an ImageError, more than `SLOW_S` seconds, more than `MAX_MB` of memory, memory that keeps growing, an answer that
is no valid JSON, or a refusal without a full stop. Exit code 0 without a finding, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import types
import zlib
from collections.abc import Callable
from pathlib import Path

from mutations import next_input
from process_stats import cpu_seconds, resident
from seeds import seeds

ROOT = Path(__file__).resolve().parents[1]
SLOW_S, HANG_S, MAX_MB, LEAK_MB = 2.0, 10.0, 1000, 96
BATCH = 20_000  # inputs of one process, after which its memory is compared


# --- the worker --------------------------------------------------------------------------------------------------


def light_package() -> None:
    """Make `fakedet.images` importable without the package's own imports, which load torch."""
    if "fakedet" not in sys.modules:
        package = types.ModuleType("fakedet")
        package.__path__ = [str(ROOT / "fakedet")]
        sys.modules["fakedet"] = package


def targets(names: list[str]) -> Callable[[bytes], str]:
    """Return a function that tries one input and returns its outcome; it raises on a finding."""
    light_package()
    from fakedet.images import ImageError, open_image
    from fakedet.provenance import join, read_provenance
    from fakedet.web.provenance_panel import to_html

    def attempt(data: bytes) -> str:
        image, outcome = None, "unread"
        if "images" in names:
            try:
                loaded = open_image(data)
                image, outcome = loaded.image, "read"
                assert image.mode == "RGB" and min(image.size) > 0, "not an RGB picture"
                assert not image.info, "the picture carries metadata"
                json.dumps(loaded.facts, allow_nan=False)
            except ImageError as error:
                outcome = error.code
                assert str(error).endswith(".") and "\n" not in str(error) and str(ROOT) not in str(error), str(error)
                assert "more memory" not in str(error), f"over {MAX_MB} MB"
        if "provenance" in names:
            provenance = read_provenance(data, image=image)
            joined = join("unsure", 0.5, provenance)
            json.dumps([provenance.to_dict(), joined.to_dict()], allow_nan=False).encode("utf-8")
            to_html(provenance, joined).encode("utf-8")
        return outcome

    return attempt


def work(args: argparse.Namespace) -> None:
    """The worker: tries inputs; the file `at` holds the number and the bytes of the current one."""
    limit = MAX_MB * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    attempt, rng = targets(args.targets), random.Random(args.seed)
    files = [path.read_bytes() for path in sorted(Path(args.work).iterdir())]
    counts: dict[str, int] = {}
    current = os.open(args.at, os.O_RDWR | os.O_CREAT)
    warm = 0
    for number in range(args.inputs):
        data = next_input(files, rng)
        os.pwrite(current, struct.pack("<QQ", number, len(data)) + data, 0)
        began, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            outcome = attempt(data)
        except BaseException as error:
            outcome = f"finding: {type(error).__name__}: {str(error)[:200]}"
        spent, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if spent > SLOW_S and not outcome.startswith("finding"):
            outcome = f"finding: {spent:.1f} s of CPU"
        if number == args.inputs // 4:
            warm = resident()
        if outcome.startswith("finding"):
            print(json.dumps({"number": number, "outcome": outcome, "cpu_s": spent, "grown_kb": grown}), flush=True)
            keep(data, args.output)
        kind = outcome.split(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    leak = resident() - warm if args.inputs >= 4000 else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"done": args.inputs, "counts": counts, "peak_mb": peak, "leak_mb": leak}), flush=True)


def keep(data: bytes, folder: str) -> Path:
    """Save a failing input under its checksum and length."""
    path = Path(folder) / f"{zlib.crc32(data):08x}_{len(data)}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- the parent ----------------------------------------------------------------------------------------------------


class Worker:
    """One fuzzing process, and the clock that detects hangs."""

    def __init__(self, args: argparse.Namespace, folder: Path, seeds: Path, seed: int):
        self.args, self.seed, self.at = args, seed, folder / f"at{seed}"
        self.at.write_bytes(bytes(16))
        self.log = (folder / f"log{seed}").open("w+")
        options = {"--seed": seed, "--at": self.at, "--work": seeds, "--inputs": args.inputs, "--output": args.output}
        pairs = [str(part) for pair in options.items() for part in pair]
        command = [sys.executable, __file__, "--worker", *pairs, "--targets", *args.targets]
        env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=env)
        self.seen, self.since = (-1, 0.0), time.monotonic()

    def tried(self) -> int:
        return struct.unpack("<Q", self.at.read_bytes()[:8])[0]

    def current(self) -> bytes:
        raw = self.at.read_bytes()
        return raw[16 : 16 + struct.unpack_from("<Q", raw, 8)[0]]

    def state(self) -> str:
        """Return "running", "hangs" or "ended"; a busy machine is no hang, so CPU time counts where it is known."""
        if self.process.poll() is not None:
            return "ended"
        now = (self.tried(), cpu_seconds(self.process.pid))
        if now[0] != self.seen[0]:
            self.seen, self.since = now, time.monotonic()
        stuck = now[1] - self.seen[1] > HANG_S or time.monotonic() - self.since > 12 * HANG_S
        return "hangs" if stuck else "running"


class Report:
    """Counts and findings of all workers."""

    def __init__(self, output: str):
        self.output, self.findings, self.outcomes = output, [], {}
        self.inputs = self.peak_mb = 0

    def add(self, worker: Worker, state: str) -> None:
        """Stop a worker and read its log; `state` is "hangs", "ended" or "stopped" (by the parent)."""
        worker.process.kill()
        code = worker.process.wait()
        worker.log.seek(0)
        lines, done = worker.log.read().splitlines(), None
        for line in lines:
            row = json.loads(line) if line.startswith("{") else {}
            if "done" in row:
                done = row
            elif "outcome" in row:
                self.findings.append(f"seed {worker.seed} input {row['number']}: {row['outcome']}")
        if done:
            for outcome, count in done["counts"].items():
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
            self.peak_mb = max(self.peak_mb, done["peak_mb"])
            if done["leak_mb"] > LEAK_MB:
                self.findings.append(f"seed {worker.seed}: memory grew by {done['leak_mb']} MB in one run")
        elif state != "stopped":
            fault = "hang" if state == "hangs" else f"crash (exit code {code}) {' '.join(lines[-3:])[-300:]}"
            self.findings.append(f"seed {worker.seed}: {fault}, input kept as {keep(worker.current(), self.output)}")
        self.inputs += worker.tried() + 1


def write_seeds(pictures: Path, folder: str | None) -> int:
    """Write the seeds, and the files of `folder` up to 200 kB, into one folder; return their number."""
    pictures.mkdir()
    for key, data in seeds().items():
        (pictures / key).write_bytes(data)
    for number, path in enumerate(sorted(Path(folder).rglob("*")) if folder else ()):
        if path.is_file() and path.stat().st_size <= 200_000:
            (pictures / f"folder{number:05d}").write_bytes(path.read_bytes())
    return len(list(pictures.iterdir()))


def fuzz(args: argparse.Namespace) -> int:
    """Run workers until the time is up; print their findings."""
    report = Report(args.output)
    with tempfile.TemporaryDirectory(prefix="fakedet-fuzz-") as name:
        folder, pictures = Path(name), Path(name, "seeds")
        count = write_seeds(pictures, args.folder)
        print(f"{count} seeds, seed {args.seed}, {args.jobs} worker(s), {args.seconds:g} s", flush=True)
        end, seed, crew = time.monotonic() + args.seconds, args.seed, []
        while time.monotonic() < end:
            while len(crew) < args.jobs:
                crew.append(Worker(args, folder, pictures, seed))
                seed += 1
            time.sleep(0.25)
            for worker in list(crew):
                if (state := worker.state()) != "running":
                    report.add(worker, state)
                    crew.remove(worker)
                    if report.findings:
                        print("\n".join(report.findings[-3:]), flush=True)
        for worker in crew:
            report.add(worker, "stopped")
    print(json.dumps({"seconds": args.seconds, "inputs": report.inputs, "of_whole_rounds": report.outcomes,
                      "peak_mb": report.peak_mb, "findings": len(report.findings)}))  # fmt: skip
    print("\n".join(report.findings) or "no findings")
    return 1 if report.findings else 0


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--inputs", type=int, default=BATCH, help="inputs that one process tries")
    p.add_argument("--folder", help="further pictures to begin with (files up to 200 kB)")
    p.add_argument("--targets", nargs="+", choices=("images", "provenance"), default=["images", "provenance"])
    p.add_argument("--output", default=str(ROOT / "artifacts" / "fuzz"))
    p.add_argument("--replay", metavar="FILE", help="try one kept input and show what happens")
    for hidden in ("--at", "--work"):
        p.add_argument(hidden, help=argparse.SUPPRESS)
    p.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.worker:
        work(args)
        return 0
    if args.replay:
        began = time.process_time()
        print(targets(args.targets)(Path(args.replay).read_bytes()), f"{time.process_time() - began:.2f} s",
              resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "MB")  # fmt: skip
        return 0
    return fuzz(args)


if __name__ == "__main__":
    sys.exit(main())
