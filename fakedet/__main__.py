"""Command line: `python -m fakedet predict IMAGE...`, `scan SOURCE --output TABLE`, `bench`, `trust`, `info`.

Exit codes: 0, everything was scored; 2, an input could not be read, or the arguments or the model are wrong; 130,
interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

BAR_CHARS = 30
MIN_BAR_ITEMS = 20  # images from which a progress bar is shown


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    prog = "fakedet" if Path(sys.argv[0]).stem == "fakedet" else "python -m fakedet"
    p = argparse.ArgumentParser(prog=prog, description="Is an image a photograph or AI-generated?")
    commands = p.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="score images, or folders of images")
    predict.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
    predict.add_argument("--json", action="store_true", help="print one JSON object per line")
    predict.add_argument("--visualize", action="store_true", help="write the Grad-CAM overlay of each image")
    predict.add_argument("--save", metavar="OUT.png", help="file of the overlay (a folder for several images)")
    predict.add_argument(
        "--report", metavar="OUT.html", help="write an HTML report to pass on (several images: a folder)"
    )
    predict.add_argument("--stability", action="store_true", help="answer unsure if a degraded copy changes the answer")
    predict.add_argument("--batch_size", type=int, default=16, help="images per batch (default 16)")
    scan = commands.add_parser("scan", help="score many images into a table")
    scan.add_argument("source", help="folder, pattern, .zip, .tar, .parquet, or a Hub data set id")
    scan.add_argument("--output", required=True, help="table to write (.parquet, .csv or .jsonl)")
    scan.add_argument("--resume", action="store_true", help="continue an interrupted scan")
    scan.add_argument("--workers", type=int, help="decoding processes (default: one per CPU)")
    scan.add_argument("--batch_size", type=int, default=32, help="images per batch (default 32)")
    scan.add_argument("--split", help="split of a Hub data set (default: all)")
    scan.add_argument("--views", choices=("fast", "all"), default="fast",
                      help="fast: all views only where the first ones leave a doubt; all (default fast)")  # fmt: skip
    scan.add_argument("--no_provenance", action="store_true", help="ignore the metadata of the files")
    bench = commands.add_parser("bench", help="measure the speed, compared with common baselines")
    bench.add_argument("--json", metavar="FILE", help="also write the figures as JSON")
    bench.add_argument("--quick", action="store_true", help="run fewer turns")
    bench.add_argument("--only", nargs="+", choices=("network", "files", "scan", "start"), help="parts to run")
    bench.add_argument("--images", help="source of the scan (default: synthetic crops of 256 pixels)")
    bench.add_argument("--count", type=int, default=1000, help="maximum number of images of the scan (default 1000)")
    trust = commands.add_parser("trust", help="fetch and pin the list of trusted signers of Content Credentials")
    trust.add_argument("--from", dest="source", metavar="FILE_OR_URL", help="PEM (default: the C2PA conformance list)")
    info = commands.add_parser("info", help="show the model and its settings")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    for sub in (predict, scan, info):
        sub.add_argument("--model", help="Hub id, folder or 'bundled' (default: $FAKEDET_MODEL, else bundled)")
        sub.add_argument("--revision", help="branch, tag or commit on the Hub")
        sub.add_argument("--runtime", default="auto", help="auto, torch or onnx (default auto)")
    return p


def walk(paths: list[str]) -> list[str]:
    """Replaces each folder by the images in it. A missing path stays in the list, to be reported later."""
    from fakedet.images import iter_image_files

    files: list[str] = []
    for path in paths:
        files += map(str, iter_image_files(path)) if Path(path).is_dir() else [path]
    return files


def progress(items: list, title: str) -> Iterator:
    """Yields the items and shows a progress bar on standard error if there are many."""
    if len(items) < MIN_BAR_ITEMS:
        yield from items
        return
    from tqdm.auto import tqdm

    yield from tqdm(items, desc=title, unit="img", file=sys.stderr)


def output_path(target: str | None, file: str, count: int, suffix: str, taken: set[Path]) -> Path:
    """Path of a file that is written for an image: `target`, a file in the folder `target`, or beside the image.

    Args:
        target: File or folder; None for beside the image.
        file: The image.
        count: Number of images in this run.
        suffix: Of the name, with its point.
        taken: Paths of this run so far. Of two images with one name the second gets a number.
    """
    path = Path(target) if target else Path(file).with_suffix(suffix)
    if target and (count > 1 or path.is_dir()):
        path.mkdir(parents=True, exist_ok=True)
        path /= Path(file).stem + suffix
    number, first = 2, path
    while path in taken:
        path = first.with_name(f"{first.name.removesuffix(suffix)}-{number}{suffix}")
        number += 1
    taken.add(path)
    return path


def printable(name) -> str:
    """A file name without control characters, which could hold commands to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(name))


def describe(verdict) -> str:
    """A verdict as a few lines of text for a terminal."""
    filled = round(verdict.p_fake * BAR_CHARS)
    lines = [f"{printable(verdict.file)}: {verdict.headline}",
             f"  AI-generated {'█' * filled}{'·' * (BAR_CHARS - filled)} {verdict.p_fake:.1%}"]  # fmt: skip
    lines += [f"  {verdict.likeness}"] if verdict.likeness else []
    lines += [f"  file: {item['sentence']}" for item in (verdict.provenance or {}).get("evidence", ())]
    lines += [f"  note: {note}" for note in verdict.notes]
    return "\n".join(lines)


def report(answer, as_json: bool) -> None:
    """Prints a verdict or failure: JSON on standard output, or text, with failures on standard error."""
    from fakedet.verdict import Failure

    if as_json:
        print(json.dumps(answer.to_dict()), flush=True)
    elif isinstance(answer, Failure):
        print(f"{printable(answer.file)}: cannot be scored: {answer.error}", file=sys.stderr)
    else:
        print(describe(answer), flush=True)


def predict(args: argparse.Namespace) -> int:
    """Scores images; returns the exit code."""
    from fakedet.detector import Detector, Failure

    files = walk(args.paths)
    if not files:
        print("There are no images in the folders given.", file=sys.stderr)
        return 2
    if args.report and len(files) > 1 and Path(args.report).suffix.lower() in (".html", ".htm"):
        print(f"--report names one file, but there are {len(files)} images: name a folder.", file=sys.stderr)
        return 2
    model = args.model or os.environ.get("FAKEDET_MODEL")
    detector = Detector.from_pretrained(model, args.revision, args.runtime, lazy=True)
    visualize, failed, taken = args.visualize or bool(args.save), 0, set()
    keep_map = visualize or bool(args.report)
    answers = detector.predict_many(progress(files, "scoring"), args.batch_size, keep_map, args.stability)
    for answer in answers:
        report(answer, args.json)
        if isinstance(answer, Failure):
            failed += 1
            continue
        written = {}
        if visualize:
            written["heat map"] = path = output_path(args.save, answer.file, len(files), ".fakedet.png", taken)
            answer.overlay().save(path)
        if args.report:
            written["report"] = path = output_path(args.report, answer.file, len(files), ".html", taken)
            write_report(answer, detector, path)
        for name, path in written.items():
            print(f"  {name}: {printable(path)}", file=sys.stderr if args.json else sys.stdout)
    return 2 if failed else 0


def write_report(verdict, detector, path: Path) -> None:
    """Writes the HTML report of a verdict that was made with a heat map."""
    from fakedet.web.report import html_report

    path.write_text(html_report(verdict, detector), encoding="utf-8", errors="replace")


def scan(args: argparse.Namespace) -> int:
    """Scores a source into a table; returns the exit code."""
    from fakedet.scan.run import scan

    model = args.model or os.environ.get("FAKEDET_MODEL")
    done = scan(args.source, args.output, model, args.revision, args.runtime, args.resume, args.batch_size,
                args.workers, not args.no_provenance, args.split, args.views == "fast")  # fmt: skip
    text = f"{done['rows']} images in {done['seconds']:.1f} s, {done['images_per_s']:.1f} images/s"
    print(f"{args.output}: {text}" + (f"; {done['errors']} could not be scored" if done["errors"] else ""))
    # a launcher takes any other exit code of one process for a crash and ends all
    return 2 if done["errors"] and "WORLD_SIZE" not in os.environ else 0


def bench(args: argparse.Namespace) -> int:
    """Runs the benchmark; returns the exit code."""
    from fakedet.hub import require_torch

    require_torch("the benchmark")
    from fakedet.bench.run import main

    return main(args)


def trust(args: argparse.Namespace) -> int:
    """Pins a list of trusted signers; returns the exit code."""
    from fakedet.provenance import trust

    pinned = trust.pin(args.source)
    facts = pinned.facts()
    print(f"Pinned: {pinned}; expired: {facts['expired']}")
    print(f"SHA-256 of the certificates: {facts['sha256']}")
    print(f"Signers: {printable('; '.join(trust.organisations(pinned.signers)))}")
    if named := os.environ.get(trust.TRUST_VARIABLE):
        print(f"{trust.TRUST_VARIABLE} is set, so {printable(named)} is used in its place.", file=sys.stderr)
    return 0


def info(args: argparse.Namespace) -> int:
    """Prints the model and its settings; returns the exit code."""
    from fakedet import __version__
    from fakedet.hub import load_checkpoint
    from fakedet.provenance.trust import facts_in_use

    checkpoint = load_checkpoint(args.model or os.environ.get("FAKEDET_MODEL"), args.revision)
    keys = ("backbone", "input_size", "max_views", "aggregate", "calibration_temperature", "calibration_bias",
            "threshold", "unsure_band", "early_exit_views", "early_exit_band", "families",
            "family_threshold")  # fmt: skip
    facts = {"fakedet": __version__, "id": checkpoint.id, "revision": checkpoint.revision, "sha256": checkpoint.sha256,
             "note": checkpoint.note, "parameters": checkpoint.parameters, "trusted_signers": facts_in_use(),
             **{key: getattr(checkpoint.settings, key) for key in keys}}  # fmt: skip
    print(json.dumps(facts) if args.json else "\n".join(f"{key:24}{value}" for key, value in facts.items()))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    args = parser().parse_args(argv)
    for name in ("batch_size", "workers"):
        value = getattr(args, name, None)
        if value is not None and value < 1:
            print(f"--{name} must be at least 1.", file=sys.stderr)
            return 2
    from fakedet.hub import ModelError

    try:
        return {"predict": predict, "scan": scan, "bench": bench, "trust": trust, "info": info}[args.command](args)
    except (ModelError, OSError, ValueError) as error:  # OSError: a full disk, an unwritable --save
        print(f"{error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
