"""Mutation fuzzer over small valid pictures: every byte string must be read or refused by type, in bounds.

    python tests/fuzz.py --seconds 60 [--jobs 1] [--seed 0] [--folder MORE_PICTURES] [--targets images provenance]
    python tests/fuzz.py --replay artifacts/fuzz/FILE

Each worker is a process of its own under a memory limit. The input at hand lies in a file before it is tried, so that
a crash or a hang in a C library leaves it behind; failing inputs are kept in artifacts/fuzz. A finding is a crash, an
exception that is not an ImageError, more than `SLOW_S` seconds, more than `MAX_MB` of memory, memory that keeps
growing, an answer that is no valid JSON, or a sentence that does not end. Exit code 0 without a finding, else 1.
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

ROOT = Path(__file__).resolve().parents[1]
SLOW_S, HANG_S, MAX_MB, LEAK_MB = 2.0, 10.0, 1000, 96
BATCH = 20_000  # inputs that one process tries before memory is judged and a fresh one begins
ODD = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 200, 250, 254, 255)
WIDE = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


# --- mutations -----------------------------------------------------------------------------------------------------


def place(rng: random.Random, size: int) -> int:
    """Somewhere in the data; the first few hundred bytes, where the headers are, half of the time."""
    return rng.randrange(min(size, 400) if rng.random() < 0.5 else size)


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to eight changes: bits, bytes, numbers, cuts, insertions, doubled and foreign pieces."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        if not out:
            return bytes(out)
        at, kind = place(rng, len(out)), rng.randrange(11)
        length = min(len(out) - at, rng.choice((1, 2, 4, 8, 16, 64, 256)))
        if kind <= 1:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.choice(ODD)
        elif kind == 3:
            out[at] = rng.randrange(256)
        elif kind in (4, 5):
            code = rng.choice("<H >H <I >I".split())
            most = (1 << 8 * struct.calcsize(code)) - 1
            out[at : at + struct.calcsize(code)] = struct.pack(code, rng.choice(WIDE) & most)
        elif kind == 6:
            del out[at : at + length]
        elif kind == 7:
            out[at:at] = out[at : at + length] * rng.choice((1, 1, 2, 20))
        elif kind == 8:
            out[at:at] = bytes(rng.randrange(256) for _ in range(length))
        elif kind == 9:
            other = rng.choice(others)
            start = place(rng, len(other))
            out[at : at + length] = other[start : start + length]
        elif rng.random() < 0.4:
            del out[at:]
    return bytes(out)


def mend_png(data: bytes, rng: random.Random, unpack: bool) -> bytes:
    """A PNG with right checksums again, so that what lies behind them is reached; `unpack` changes unpacked texts."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if at + 12 + length > len(data):
            break
        if unpack and name in (b"IDAT", b"zTXt", b"fdAT"):
            head, packed = (
                (b"", body) if name == b"IDAT" else (body[: body.find(b"\0") + 2], body[body.find(b"\0") + 2 :])
            )
            try:
                plain = zlib.decompressobj().decompress(packed, 1 << 20)
                body = head + zlib.compress(mutate(plain, [plain or b"\0"], rng), 1)
            except zlib.error:
                pass
        parts += [struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(name + body))]
        at += 12 + length
    return b"".join(parts) + data[at:]


def next_input(seeds: list[bytes], rng: random.Random) -> bytes:
    """A seed, changed."""
    data = mutate(rng.choice(seeds), seeds, rng)
    if data[:4] == b"\x89PNG" and rng.random() < 0.8:
        data = mend_png(data, rng, rng.random() < 0.3)
    return data


# --- what is tried -------------------------------------------------------------------------------------------------


def light_package() -> None:
    """Lets `fakedet.images` be imported without the package's own imports, which load torch."""
    if "fakedet" not in sys.modules:
        package = types.ModuleType("fakedet")
        package.__path__ = [str(ROOT / "fakedet")]
        sys.modules["fakedet"] = package


def targets(names: list[str]) -> Callable[[bytes], str]:
    """A function that tries one input and returns in a word what came out; it raises on a finding."""
    light_package()
    from fakedet.images import ImageError, open_image
    from fakedet.provenance import join, read_provenance
    from fakedet.web.provenance_panel import to_html

    def attempt(data: bytes) -> str:
        image, word = None, "unread"
        if "images" in names:
            try:
                loaded = open_image(data)
                image, word = loaded.image, "read"
                assert image.mode == "RGB" and min(image.size) > 0, "not an RGB picture"
                assert not image.info, "metadata came along"
                json.dumps(loaded.facts, allow_nan=False)
            except ImageError as error:
                word = error.code
                assert str(error).endswith(".") and "\n" not in str(error) and str(ROOT) not in str(error), str(error)
                assert "more memory" not in str(error), f"over {MAX_MB} MB"
        if "provenance" in names:
            found = read_provenance(data, image=image)
            joined = join("unsure", 0.5, found)
            json.dumps([found.to_dict(), joined.to_dict()], allow_nan=False).encode("utf-8")
            to_html(found, joined).encode("utf-8")
        return word

    return attempt


def work(args: argparse.Namespace) -> None:
    """The worker: tries inputs until its number is reached; tells the parent of each through the file `at`."""
    most = MAX_MB * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    attempt, rng = targets(args.targets), random.Random(args.seed)
    seeds = [path.read_bytes() for path in sorted(Path(args.work).iterdir())]
    counts: dict[str, int] = {}
    current = os.open(args.at, os.O_RDWR | os.O_CREAT)
    warm = 0
    for number in range(args.inputs):
        data = next_input(seeds, rng)
        os.pwrite(current, struct.pack("<QQ", number, len(data)) + data, 0)
        began, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            word = attempt(data)
        except BaseException as error:
            word = f"finding: {type(error).__name__}: {str(error)[:200]}"
        spent, grown = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if spent > SLOW_S and not word.startswith("finding"):
            word = f"finding: {spent:.1f} s of CPU"
        if number == args.inputs // 4:
            warm = resident()
        if word.startswith("finding"):
            print(json.dumps({"number": number, "word": word, "cpu_s": spent, "grown_kb": grown}), flush=True)
            keep(data, args.output)
        counts[word.split(":")[0]] = counts.get(word.split(":")[0], 0) + 1
    leak = resident() - warm if args.inputs >= 4000 else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"done": args.inputs, "counts": counts, "peak_mb": peak, "leak_mb": leak}), flush=True)


def resident() -> int:
    """Megabytes in memory now (Linux; 0 elsewhere)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 2**20
    except OSError:
        return 0


def keep(data: bytes, folder: str) -> Path:
    """Saves a failing input under a name that says its content."""
    path = Path(folder) / f"{zlib.crc32(data):08x}_{len(data)}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- the parent ----------------------------------------------------------------------------------------------------


class Worker:
    """One fuzzing process, and the clock that tells when it hangs."""

    def __init__(self, args: argparse.Namespace, folder: Path, seeds: Path, seed: int):
        self.args, self.seed, self.at = args, seed, folder / f"at{seed}"
        self.at.write_bytes(bytes(16))
        self.log = (folder / f"log{seed}").open("w+")
        command = [
            sys.executable,
            __file__,
            "--worker",
            "--seed",
            str(seed),
            "--at",
            str(self.at),
            "--work",
            str(seeds),
        ]
        command += ["--inputs", str(args.inputs), "--output", args.output, "--targets", *args.targets]
        env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, env=env)
        self.seen, self.since = (-1, 0.0), time.monotonic()

    def tried(self) -> int:
        return struct.unpack("<Q", self.at.read_bytes()[:8])[0]

    def current(self) -> bytes:
        raw = self.at.read_bytes()
        return raw[16 : 16 + struct.unpack_from("<Q", raw, 8)[0]]

    def state(self) -> str:
        """ "running", "hangs" or "ended". Time counts as CPU time where that can be told: this machine may be busy."""
        if self.process.poll() is not None:
            return "ended"
        now = (self.tried(), cpu_seconds(self.process.pid))
        if now[0] != self.seen[0]:
            self.seen, self.since = now, time.monotonic()
        stuck = now[1] - self.seen[1] > HANG_S or time.monotonic() - self.since > 12 * HANG_S
        return "hangs" if stuck else "running"


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used (Linux; 0 elsewhere)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def fuzz(args: argparse.Namespace) -> int:
    """Runs workers until the time is up; prints what they found."""
    from seeds import seeds as made

    total: dict[str, int] = {}
    findings: list[str] = []
    peak = rounds = tried = 0
    with tempfile.TemporaryDirectory(prefix="fakedet-fuzz-") as name:
        folder, pictures = Path(name), Path(name, "seeds")
        pictures.mkdir()
        for key, data in made().items():
            (pictures / key).write_bytes(data)
        for number, path in enumerate(sorted(Path(args.folder).rglob("*")) if args.folder else ()):
            if path.is_file() and path.stat().st_size <= 200_000:
                (pictures / f"folder{number:05d}").write_bytes(path.read_bytes())
        count = len(list(pictures.iterdir()))
        print(f"{count} seeds, seed {args.seed}, {args.jobs} worker(s), {args.seconds:g} s", flush=True)
        end, seed, crew = time.monotonic() + args.seconds, args.seed, []

        def gather(worker: Worker, state: str) -> None:
            nonlocal peak, tried
            worker.process.kill()
            code = worker.process.wait()
            worker.log.seek(0)
            lines, report = worker.log.read().splitlines(), None
            for line in lines:
                row = json.loads(line) if line.startswith("{") else {}
                if "done" in row:
                    report = row
                elif "word" in row:
                    findings.append(f"seed {worker.seed} input {row['number']}: {row['word']}")
            if report:
                for word, value in report["counts"].items():
                    total[word] = total.get(word, 0) + value
                peak = max(peak, report["peak_mb"])
                if report["leak_mb"] > LEAK_MB:
                    findings.append(f"seed {worker.seed}: memory grew by {report['leak_mb']} MB in one run")
            elif state != "stopped":
                what = "hang" if state == "hangs" else f"crash (exit code {code}) {' '.join(lines[-3:])[-300:]}"
                findings.append(f"seed {worker.seed}: {what}, input kept as {keep(worker.current(), args.output)}")
            tried += worker.tried() + 1

        while time.monotonic() < end:
            while len(crew) < args.jobs:
                crew.append(Worker(args, folder, pictures, seed))
                seed, rounds = seed + 1, rounds + 1
            time.sleep(0.25)
            for worker in list(crew):
                if (state := worker.state()) != "running":
                    gather(worker, state)
                    crew.remove(worker)
                    if findings:
                        print("\n".join(findings[-3:]), flush=True)
        for worker in crew:
            gather(worker, "stopped")
    print(json.dumps({"seconds": args.seconds, "inputs": tried, "of_whole_rounds": total, "peak_mb": peak,
                      "findings": len(findings)}))  # fmt: skip
    print("\n".join(findings) or "nothing found")
    return 1 if findings else 0


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
