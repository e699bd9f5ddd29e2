"""Publish a model, or the app as a Space, on the Hugging Face Hub. The token comes from HF_TOKEN or `hf auth login`.

    python train/publish.py model --model runs/mine --report reports/mine --repo owner/name
    python train/publish.py space --repo owner/space --model owner/name
    python train/publish.py model --model bundled --card_only fakedet/pretrained/README.md

Each command can be repeated: it sends only what has changed and leaves files of others in the repository alone.
`--dry_run` prints what would be sent, `--output_dir` writes it to a folder, `--card_only` writes the model card alone;
none of them needs a network.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

if __name__ == "__main__":  # a script sees its own folder first, where evaluate.py hides the library of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from train.publishing.push import Plan, PublishError, claim, push


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="train/publish.py", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    kinds = p.add_subparsers(dest="kind", required=True)
    model = kinds.add_parser("model", help="a checkpoint with its card, figures and modelling code")
    a = model.add_argument
    a("--model", required=True, help="checkpoint folder, or 'bundled'")
    a("--report", help="folder that evaluate.py wrote; by default report.json beside the checkpoint")
    a("--card", type=Path, help="README.md of your own in place of the generated card")
    a("--card_only", type=Path, metavar="FILE", help="write the card to this file, and send nothing")
    a("--tag", help="name of this version; by default the next of v1, v2, ...")
    a("--license", default="mit", help="identifier of the licence, as the Hub lists them (default: mit)")
    a("--datasets", nargs="+", help="Hub ids of the training data; by default those in training.json")
    a("--base_model", help="Hub id of the weights it started from; by default the one in training.json")
    a("--mistakes", action="store_true", help="also publish mistakes.png, which shows images of your data set")
    space = kinds.add_parser("space", help="the app")
    space.add_argument("--model", help="Hub id (owner/name[@revision]) of its model; by default the bundled checkpoint")
    for part in (model, space):
        a = part.add_argument
        a("--repo", help="owner/name on the Hub; made if it does not exist")
        a("--private", action="store_true", help="make the repository private if it is new")
        a("--dry_run", action="store_true", help="print what would be sent, and send nothing")
        a("--output_dir", type=Path, help="write everything to this folder, and send nothing")
    return p


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line; only the card of the bundled checkpoint needs no --repo."""
    p = parser()
    args = p.parse_args(argv)
    bundled_card = args.kind == "model" and args.card_only and args.model == "bundled"
    if not args.repo and not bundled_card:
        p.error("--repo is required")
    return args


def make_plan(args: argparse.Namespace) -> Plan:
    """Everything that would be sent."""
    if args.kind == "space":
        from train.publishing.space import space_plan

        return space_plan(args.repo, args.model)
    from train.publishing.model_repo import model_plan

    return model_plan(args)


def before_training(args: argparse.Namespace) -> None:
    """Makes the repository that finetune.py will push to, and puts its full id into `args`.

    Raises:
        SystemExit: The repository cannot be made or written to; the message says why.
    """
    try:
        args.hub_model_id = claim(args.hub_model_id or Path(args.output_dir).name, private=args.hub_private_repo)
    except PublishError as error:
        raise SystemExit(f"--push_to_hub: {error}") from None


def after_training(args: argparse.Namespace) -> None:
    """Pushes what finetune.py has trained.

    Raises:
        SystemExit: The model is saved but not pushed; the message says why, and how to push it later.
    """
    command = ["model", "--model", args.output_dir, "--repo", args.hub_model_id]
    try:
        pushed = push(make_plan(parse(command)))
    except PublishError as error:
        again = shlex.join(["python", "train/publish.py", *command])
        raise SystemExit(f"Trained and saved in {args.output_dir}, but not pushed: {error}\nLater: {again}") from None
    print(f"{pushed.url}\nCommit {pushed.commit}, tag {pushed.tag}")


def show(args: argparse.Namespace, plan: Plan) -> None:
    """Writes and prints what would be sent."""
    if args.output_dir:
        plan.write(args.output_dir)
    print(plan.table())
    if args.dry_run:
        print(f"\nREADME.md:\n\n{plan.content('README.md').decode()}")
    if args.kind == "space":
        print(f"Variable: FAKEDET_MODEL={args.model or 'bundled'}")


def send(args: argparse.Namespace, plan: Plan) -> None:
    """Pushes the plan and prints where it ended."""
    if args.kind == "space":
        from train.publishing.space import set_variable

        changed = set_variable(claim(args.repo, "space", args.private), args.model)
        pushed = push(plan, args.private, tags=False)
        print(f"{pushed.url}\nCommit {pushed.commit}" + ("" if pushed.new or changed else ", as before"))
    else:
        pushed = push(plan, args.private, args.tag)
        print(f"{pushed.url}\nCommit {pushed.commit}, tag {pushed.tag}" + ("" if pushed.new else ", as before"))


def main(argv: list[str] | None = None) -> int:
    """Runs the command; exit code 0, or 2 where something cannot be published."""
    args = parse(argv)
    try:
        plan = make_plan(args)
        if args.kind == "model" and args.card_only:
            args.card_only.write_bytes(plan.content("README.md"))
            print(args.card_only)
        elif args.dry_run or args.output_dir:
            show(args, plan)
        else:
            send(args, plan)
    except PublishError as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
