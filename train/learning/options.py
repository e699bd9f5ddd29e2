"""Reads the flags and the YAML file of finetune.py into a TrainConfig. Flags win over the file."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError
from transformers import HfArgumentParser

from train.learning.config import GROUPS, TrainConfig

TYPES = get_type_hints(TrainConfig)
VALIDATOR = TypeAdapter(TrainConfig)  # before any HfArgumentParser, which overwrites the types of the fields
UNSET = object()


class Parser(HfArgumentParser):
    """A parser whose errors are one sentence, without the usage of some seventy flags."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def make_parser() -> Parser:
    """The command line of finetune.py."""
    p = Parser(GROUPS, prog="finetune.py", description="Fine-tunes a fakedet model under accelerate.")
    p.add_argument("--config", help="YAML file that sets any of the flags below (see train/configs)")
    for name in ("cache_features", "freeze_bn"):  # HfArgumentParser makes only --no_cache_features of them
        p.add_argument(f"--no-{name}", dest=name, action="store_false", help=argparse.SUPPRESS)
    return p


def parse(argv: list[str] | None = None) -> TrainConfig:
    """Reads the command line and the YAML file that it names.

    Raises:
        SystemExit: With code 2 and one sentence that names the key, for anything that cannot run.
    """
    p = make_parser()
    argv = list(sys.argv[1:] if argv is None else argv)
    flags = given_values(p, argv)
    path = flags.pop("config", None)
    try:
        values, data = read_yaml(p, Path(path)) if path else ({}, [])
        values |= flags
        named = [*(values.get("train_dir") or ()), *(values.get("dataset_name") or ())]
        if named:
            data = [{"path": name, "augment": values.get("augment", TrainConfig.augment)} for name in named]
        config = VALIDATOR.validate_python(values | {"data": data, "command_line": argv, "given": frozenset(values)})
        config.check()
    except ValidationError as error:  # also a ValueError: it comes first
        p.error(one_sentence(error))
    except ValueError as error:
        p.error(str(error))
    return config


def given_values(p: Parser, argv: list[str]) -> dict:
    """Values of the flags that a command line sets, by name, without defaults."""
    names = {action.dest for action in p._actions} - {"help"}
    values = vars(p.parse_args(argv, argparse.Namespace(**dict.fromkeys(names, UNSET))))
    return {name: value for name, value in values.items() if value is not UNSET}


def read_yaml(p: Parser, path: Path) -> tuple[dict, list]:
    """Settings of a YAML file, each read as its flag reads them, and its list of data sources.

    Raises:
        ValueError: There is no such file, it is not YAML, or has an unknown key or a value of the wrong type.
        SystemExit: A value that the flag would refuse as well.
    """
    if not path.is_file():
        raise ValueError(f"no config file at {path}")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a mapping of keys to values")
    data = values.pop("data", None) or []
    known = {field.name for group in GROUPS for field in fields(group)}
    if unknown := sorted(str(key) for key in set(values) - known):
        raise ValueError(f"{path}: unknown keys {', '.join(unknown)}")
    return given_values(p, [flag for key, value in values.items() for flag in as_flags(key, value)]), data


def as_flags(key: str, value: object) -> list[str]:
    """The flag that sets `key` to a value from YAML; nothing for null and an empty list, where the flag is optional.

    Raises:
        ValueError: The value has a type that the flag does not take.
    """
    kind = TYPES[key]
    kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
    if type(None) in kinds and value in (None, []):
        return []
    if any(getattr(each, "__origin__", None) is list for each in kinds):
        if not isinstance(value, list) or any(isinstance(item, bool | list | dict | None) for item in value):
            raise ValueError(f"{key} must be a list, not {json.dumps(value, default=str)}")
        return [f"--{key}", *map(str, value)]
    if key == "mixed_precision" and value is False:  # `no` is a boolean in YAML
        value = "no"
    if isinstance(value, bool) != (kind is bool) or isinstance(value, list | dict | None):
        wanted = "true or false" if kind is bool else "one value"
        raise ValueError(f"{key} must be {wanted}, not {json.dumps(value, default=str)}")
    return [f"--{key}={value}"]


def one_sentence(error: ValidationError) -> str:
    """The first problem of a configuration, with the name of the key and the value."""
    # a union gives one error per alternative; the one of __post_init__, else the deepest, is about the user's value
    problem = max(error.errors(), key=lambda item: (item["type"] == "value_error", len(item["loc"])))
    place = ""
    for part in problem["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part.isidentifier() and part.islower():  # pydantic also names the alternative of a union
            place += f".{part}" if place else part
    if problem["type"] == "unexpected_keyword_argument":
        return f"{place}: unknown key"
    if problem["type"] in ("missing", "missing_argument"):
        return f"{place}: missing"
    return f"{place}: {problem['msg'][0].lower()}{problem['msg'][1:]}, not {problem['input']!r}"
