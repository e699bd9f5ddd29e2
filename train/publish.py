"""Publish a model, or the app as a Space, on the Hugging Face Hub. The token comes from HF_TOKEN or `hf auth login`.

    python train/publish.py model --model runs/mine --report reports/mine --repo owner/name
    python train/publish.py space --repo owner/space --model owner/name

Both can be run again: what has not changed is not sent, and what is not ours in the repository is left alone.
`--dry_run` shows exactly what would go, `--output_dir` writes it to a folder; neither needs a network.
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
    a("--report", help="folder that evaluate.py wrote: its figures and plots go into the card")
    a("--card", type=Path, help="a README.md of your own in place of the one that is written here")
    a("--tag", help="name of this version; by default the next of v1, v2, ...")
    a("--license", default="mit")
    a("--datasets", nargs="+", help="Hub ids of the training data; by default those that finetune.py noted")
    a("--base_model", help="Hub id of the weights it started from; by default what finetune.py noted")
    a("--mistakes", action="store_true", help="publish mistakes.png too: it shows pictures of your data set")
    space = kinds.add_parser("space", help="the app")
    space.add_argument("--model", help="Hub id (owner/name[@revision]) that it shows; the bundled one when missing")
    for part in (model, space):
        a = part.add_argument
        a("--repo", required=True, help="owner/name on the Hub; made if there is none")
        a("--private", action="store_true", help="make it private, when it is new")
        a("--dry_run", action="store_true", help="show what would go, and send nothing")
        a("--output_dir", type=Path, help="write it to this folder, and send nothing")
    return p


def make_plan(args: argparse.Namespace) -> Plan:
    """What would go."""
    if args.kind == "space":
        from train.publishing.space import space_plan

        return space_plan(args.repo, args.model)
    from train.publishing.model_repo import model_plan

    return model_plan(args)


def before_training(args: argparse.Namespace) -> None:
    """Makes the repository that finetune.py will push to, and puts its full id into `args`.

    Raises:
        SystemExit: With one sentence, where nothing could be pushed in the end.
    """
    try:
        args.hub_model_id = claim(args.hub_model_id or Path(args.output_dir).name, private=args.hub_private_repo)
    except PublishError as error:
        raise SystemExit(f"--push_to_hub: {error}") from None


def after_training(args: argparse.Namespace) -> None:
    """Pushes what finetune.py has trained.

    Raises:
        SystemExit: It is saved, but could not be pushed; with the command to push it later.
    """
    rest = ["model", "--model", args.output_dir, "--repo", args.hub_model_id]
    try:
        done = push(make_plan(parser().parse_args(rest)))
    except PublishError as error:
        again = shlex.join(["python", "train/publish.py", *rest])
        raise SystemExit(f"Trained and saved in {args.output_dir}, but not pushed: {error}\nLater: {again}") from None
    print(f"{done.url}\nCommit {done.commit}, tag {done.tag}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; 0 = done, 2 = it cannot be published, and why."""
    args = parser().parse_args(argv)
    try:
        plan = make_plan(args)
        if args.output_dir:
            plan.write(args.output_dir)
        if args.dry_run or args.output_dir:
            print(plan.table())
            if args.dry_run:
                print(f"\nREADME.md:\n\n{plan.content('README.md').decode()}")
            if args.kind == "space":
                print(f"Variable: FAKEDET_MODEL={args.model or 'bundled'}")
            return 0
        if args.kind == "space":
            from train.publishing.space import set_variable

            changed = set_variable(claim(args.repo, "space", args.private), args.model)
            done = push(plan, args.private, tags=False)
            print(f"{done.url}\nCommit {done.commit}" + ("" if done.new or changed else ", as before"))
        else:
            done = push(plan, args.private, args.tag)
            print(f"{done.url}\nCommit {done.commit}, tag {done.tag}" + ("" if done.new else ", as before"))
    except PublishError as error:
        print(f"publish: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
