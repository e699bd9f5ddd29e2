"""What a Space holds: the app, its package, its requirements and a front page; no training code, data or tests.

Needs nothing but huggingface_hub and PyYAML, so that a workflow can run it without installing the rest.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from train.publishing.push import Plan, PublishError, client, sentence

ROOT = Path(__file__).resolve().parents[2]
TOP = ("app.py", "requirements.txt", "LICENSE")
FOLDERS = ("fakedet", "examples/images")
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}
VARIABLE = "FAKEDET_MODEL"


def space_plan(repo: str, model: str | None) -> Plan:
    """Everything that goes to the Space's repository.

    Args:
        repo: "owner/name".
        model: Hub id of the model that it shows, with "@revision" to pin one; the bundled one when None.
    """
    files: dict[str, bytes | Path] = {name: ROOT / name for name in TOP}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and not LEFT_OUT & set(path.parts) and path.suffix not in (".pyc", ".partial"):
                files[path.relative_to(ROOT).as_posix()] = path
    files["README.md"] = front_page(repo, model).encode()
    return Plan(repo, "space", files, lambda path: path in TOP or path.startswith(("fakedet/", "examples/")),
                f"fakedet with {model or 'the bundled model'}")  # fmt: skip


def front_page(repo: str, model: str | None) -> str:
    """README.md of the Space: the settings from this repository's README.md, and a few words."""
    facts = yaml.safe_load((ROOT / "README.md").read_text().split("---")[1])
    id, _, revision = (model or "").partition("@")
    facts["title"] = facts["title"] if repo.endswith("/" + facts["title"]) else repo.split("/")[-1]
    facts["models"] = [id] if id else []
    which = f"`{id}`{f' at {revision}' if revision else ''}" if id else "the bundled one"
    words = "It answers how likely a picture is AI-generated and where the reasons lie, and says when it does not know."
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---\n\n# {facts['title']}\n\n" + (
        f"{facts['short_description']}\n\n{words} Programs can ask it too (REST, gradio_client, MCP), as its page "
        f"tells.\n\nThe model is {which}. If it cannot be had, the one in this repository answers, and the page says "
        "so. Uploaded pictures are deleted after minutes and go nowhere else.\n"
    )


def set_variable(repo: str, model: str | None) -> bool:
    """Makes the Space show that model; returns whether something changed (every change restarts a Space).

    Raises:
        PublishError: The Hub refuses, or there is no such model.
    """
    api = client()
    wanted = model or "bundled"
    try:
        if model:
            id, _, revision = model.partition("@")
            try:
                if api.model_info(id, revision=revision or None).private:
                    print(f"{id} is private: give the Space a secret HF_TOKEN that may read it (its settings page).")
            except Exception as error:
                raise PublishError(f"The Space's model: {sentence(error, model)}") from None
        now = api.get_space_variables(repo).get(VARIABLE)
        if now is not None and now.value == wanted:
            return False
        api.add_space_variable(repo, VARIABLE, wanted)
        return True
    except PublishError:
        raise
    except Exception as error:
        raise PublishError(sentence(error, repo)) from None
