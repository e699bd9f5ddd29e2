"""What a Space holds: the app, its package, its requirements and a front page; no training code, data or tests.

Imports only huggingface_hub and PyYAML: the workflow that runs it installs nothing else.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from .push import Plan, PublishError, client, sentence

ROOT = Path(__file__).resolve().parents[2]
TOP = ("app.py", "LICENSE")
REQUIREMENTS = "requirements.txt"
FOLDERS = ("fakedet", "examples/images")
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}
VARIABLE = "FAKEDET_MODEL"


def space_plan(repo: str, model: str | None) -> Plan:
    """Everything that goes to the Space's repository.

    Args:
        repo: "owner/name".
        model: Hub id of the model that it runs, with "@revision" to pin one; None for the bundled checkpoint.
    """
    files: dict[str, bytes | Path] = {name: ROOT / name for name in TOP}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and not LEFT_OUT & set(path.parts) and path.suffix not in (".pyc", ".partial"):
                files[path.relative_to(ROOT).as_posix()] = path
    files[REQUIREMENTS] = requirements().encode()
    files["README.md"] = front_page(repo, model).encode()
    return Plan(repo, "space", files, _is_ours, f"fakedet with {model or 'the bundled model'}")


def _is_ours(path: str) -> bool:
    """Whether a file of the Space comes from here; others stay as they are."""
    return path in (*TOP, REQUIREMENTS) or path.startswith(("fakedet/", "examples/"))


def requirements() -> str:
    """requirements.txt of the Space: what answering and the app need; no torch, and nothing for training."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["app"]
    return "\n".join(["# The base dependencies and the extra `app` of pyproject.toml.", *needed]) + "\n"


def front_page(repo: str, model: str | None) -> str:
    """README.md of the Space: the settings from this repository's README.md, and a short description."""
    settings = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---")[1])
    id, _, revision = (model or "").partition("@")
    if not repo.endswith("/" + settings["title"]):
        settings["title"] = repo.split("/")[-1]
    settings["models"] = [id] if id else []
    which = f"`{id}`{f' at {revision}' if revision else ''}" if id else "the bundled checkpoint"
    return f"""---
{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)}---

# {settings["title"]}

{settings["short_description"]}

The app estimates how likely a picture is AI-generated, shows which regions count, and answers "unsure" where it does \
not know. Programs can call it by REST, gradio_client and MCP; the page describes how.

The model is {which}. If it cannot be loaded, the bundled checkpoint answers, and the page says so. Uploaded pictures \
are deleted after minutes and are sent nowhere else.
"""


def set_variable(repo: str, model: str | None) -> bool:
    """Sets the Space's model.

    Returns:
        Whether the variable changed. An equal value is not written again, because every change restarts a Space.

    Raises:
        PublishError: The Hub refuses, or the model does not exist.
    """
    api = client()
    value = model or "bundled"
    if model:
        check_model(model)
    try:
        current = api.get_space_variables(repo).get(VARIABLE)
        if current is not None and current.value == value:
            return False
        api.add_space_variable(repo, VARIABLE, value)
        return True
    except Exception as error:
        raise PublishError(sentence(error, repo)) from None


def check_model(model: str) -> None:
    """Makes sure that a model is on the Hub, and prints a hint if it is private.

    Args:
        model: Hub id, with or without "@revision".

    Raises:
        PublishError: The Hub does not have it, or the token may not read it.
    """
    id, _, revision = model.partition("@")
    try:
        info = client().model_info(id, revision=revision or None)
    except Exception as error:
        raise PublishError(f"The Space's model: {sentence(error, model)}") from None
    if info.private:
        print(f"{id} is private: give the Space a secret HF_TOKEN that may read it (its settings page).")
