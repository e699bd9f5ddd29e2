"""Command line: `python -m fakedet predict IMAGE...`, `scan SOURCE --output TABLE`, `bench`, `info`.

Exit code 0: everything was scored. 2: an input could not be read, or the arguments or the model are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

LINE = 78


def parser() -> argparse.ArgumentParser:
    prog = "fakedet" if Path(sys.argv[0]).stem == "fakedet" else "python -m fakedet"
    p = argparse.ArgumentParser(prog=prog, description="Photograph or AI-generated image?")
    commands = p.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="score images, or folders of images")
    predict.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.add_argument("--visualize", action="store_true", help="write the Grad-CAM overlay beside each answer")
    predict.add_argument("--save", metavar="OUT.png", help="where the overlay goes (a folder for several images)")
    predict.add_argument("--stability", action="store_true", help="unsure where a worn copy gets another answer")
    predict.add_argument("--batch_size", type=int, default=16, help="images per pass (default 16)")
    scan = commands.add_parser("scan", help="score very many images into a table")
    scan.add_argument("source", help="folder, pattern, .zip, .tar, .parquet, or a Hub data set id")
    scan.add_argument("--output", required=True, help="table to write: .parquet, .csv or .jsonl")
    scan.add_argument("--resume", action="store_true", help="go on where an interrupted scan stopped")
    scan.add_argument("--workers", type=int, help="decoding processes (default: one a CPU)")
    scan.add_argument("--batch_size", type=int, default=32, help="images per pass (default 32)")
    scan.add_argument("--split", help="of a Hub data set (default: all)")
    scan.add_argument("--no_provenance", action="store_true", help="leave out what the files say of themselves")
    bench = commands.add_parser("bench", help="how fast, beside what people would pick instead")
    bench.add_argument("--json", metavar="FILE", help="write the figures as JSON, too")
    bench.add_argument("--quick", action="store_true", help="fewer turns")
    bench.add_argument("--only", nargs="+", choices=("network", "files", "scan", "process"), help="parts to run")
    bench.add_argument("--images", help="what the scan reads (default: made crops of 256 pixels)")
    bench.add_argument("--count", type=int, default=1000, help="images of the scan (default 1000)")
    info = commands.add_parser("info", help="which model answers, and its settings")
    info.add_argument("--json", action="store_true")
    for sub in (predict, scan, info):
        sub.add_argument("--model", help="Hub id, folder or 'bundled' (default: $FAKEDET_MODEL, else bundled)")
        sub.add_argument("--revision", help="branch, tag or commit on the Hub")
        sub.add_argument("--runtime", default="auto")
    return p


def walk(paths: list[str]) -> list[str]:
    """Files as given, folders replaced by the images in them. A path that is not there stays, to be reported."""
    from fakedet.images import iter_image_files

    found: list[str] = []
    for path in paths:
        found += map(str, iter_image_files(path)) if Path(path).is_dir() else [path]
    return found


def progress(items: list, title: str) -> Iterator:
    """The items, behind a progress bar on standard error where there are many."""
    from tqdm.auto import tqdm

    yield from tqdm(items, desc=title, unit="img", disable=len(items) < 20, file=sys.stderr)


def overlay_path(args, file: str, count: int) -> Path:
    """Where the overlay of one file goes: --save, a file in the folder --save, or NAME.fakedet.png beside the image."""
    if not args.save:
        return Path(file).with_suffix(".fakedet.png")
    target = Path(args.save)
    if count > 1 or target.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return target / (Path(file).stem + ".fakedet.png")
    return target


def shown(name) -> str:
    """A file name as it may stand in a terminal: it can hold anything, such as commands to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(name))


def describe(verdict) -> str:
    """One image's answer in a few lines for a terminal."""
    filled = round(verdict.p_fake * 30)
    lines = [f"{shown(verdict.file)}: {verdict.headline}",
             f"  AI-generated {'█' * filled}{'·' * (30 - filled)} {verdict.p_fake:.1%}"]  # fmt: skip
    lines += [f"  {verdict.likeness}"] if verdict.likeness else []
    said = [item["sentence"] for item in (verdict.provenance or {}).get("evidence", ())]
    lines += [f"  file: {sentence}" for sentence in said] + [f"  note: {note}" for note in verdict.notes]
    return "\n".join(lines)


def predict(args) -> int:
    from fakedet.detector import Detector, Failure

    files = walk(args.paths)
    if not files:
        print("There are no images in the folders given.", file=sys.stderr)
        return 2
    detector = Detector.from_pretrained(args.model or os.environ.get("FAKEDET_MODEL"), args.revision, args.runtime)
    visualize, failed = args.visualize or bool(args.save), 0
    answers = detector.predict_many(progress(files, "scoring"), args.batch_size, visualize, args.stability)
    for answer in answers:
        if isinstance(answer, Failure):
            failed += 1
        if args.json:
            print(json.dumps(answer.to_dict()), flush=True)
        if isinstance(answer, Failure):
            if not args.json:
                print(f"{shown(answer.file)}: cannot be scored: {answer.error}", file=sys.stderr)
            continue
        if not args.json:
            print(describe(answer), flush=True)
        if visualize:
            path = overlay_path(args, answer.file, len(files))
            answer.overlay().save(path)
            print(f"  heat map: {shown(path)}", file=sys.stderr if args.json else sys.stdout)
    return 2 if failed else 0


def scan(args) -> int:
    from fakedet.scan.run import scan

    model = args.model or os.environ.get("FAKEDET_MODEL")
    done = scan(args.source, args.output, model, args.revision, args.runtime, args.resume, args.batch_size,
                args.workers, not args.no_provenance, args.split)  # fmt: skip
    told = f"{done['rows']} images in {done['seconds']:.1f} s, {done['images_per_s']:.1f} images/s"
    print(f"{args.output}: {told}" + (f"; {done['errors']} could not be scored" if done["errors"] else ""))
    # a launcher would take any other code of one process for a crash of all
    return 2 if done["errors"] and "WORLD_SIZE" not in os.environ else 0


def bench(args) -> int:
    from fakedet.hub import require_torch

    require_torch("the benchmark")
    from fakedet.bench.run import main

    return main(args)


def info(args) -> int:
    from fakedet import __version__
    from fakedet.hub import load_checkpoint

    checkpoint = load_checkpoint(args.model or os.environ.get("FAKEDET_MODEL"), args.revision)
    keys = ("backbone", "input_size", "max_views", "aggregate", "calibration_temperature", "calibration_bias",
            "threshold", "unsure_band", "families", "family_threshold")  # fmt: skip
    facts = {"fakedet": __version__, "id": checkpoint.id, "revision": checkpoint.revision, "sha256": checkpoint.sha256,
             "note": checkpoint.note, "parameters": checkpoint.parameters,
             **{key: getattr(checkpoint.settings, key) for key in keys}}  # fmt: skip
    print(json.dumps(facts) if args.json else "\n".join(f"{key:24}{value}" for key, value in facts.items()))
    return 0


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for name in ("batch_size", "workers"):
        value = getattr(args, name, None)
        if value is not None and value < 1:
            print(f"--{name} must be at least 1.", file=sys.stderr)
            return 2
    from fakedet.hub import ModelError

    try:
        return {"predict": predict, "scan": scan, "bench": bench, "info": info}[args.command](args)
    except (ModelError, OSError) as error:
        # one plain line: a full disk or an unwritable --save ends here too
        print(f"{error}", file=sys.stderr)
    except ValueError as error:
        print(f"{error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
