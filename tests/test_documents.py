"""Every import, command, flag, path, link and setting that the documents show exists; so does every dependency."""

import ast
import contextlib
import importlib
import importlib.metadata
import io
import json
import re
import runpy
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest

import fakedet

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    "README.md",
    "fakedet/README.md",
    "fakedet/pretrained/README.md",
    "train/README.md",
    "train/EXPERIMENTS.md",
    "examples/README.md",
    "tests/README.md",
)
NOTEBOOK = "examples/pictures_to_hub.ipynb"
SUBCOMMANDS = {
    "fakedet": ("predict", "scan", "bench", "trust", "info"),
    "train/prepare.py": ("catalogue", "feedback"),
    "train/publish.py": ("model", "space"),
}
# Top-level packages that a requirement brings, or that only exist where they are needed.
BROUGHT = {"fsspec": "ray", "gradio_client": "gradio", "mcp": "gradio", "spaces": "a Space with ZeroGPU"}
COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:python|accelerate|sh|bash|node) |(?:train/|tests/|examples/)?\w+\.py --")
PATH = re.compile(r"(?<![\w/.-])((?:fakedet|train|tests|examples|\.ci|\.github)/[\w/.-]*\.[a-z]{2,5})\b(?![\w*])")


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def inline_code(text: str) -> list[str]:
    """What stands between single backticks, outside of fenced blocks."""
    return re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def shown_commands(text: str) -> list[list[str]]:
    """Every command in a document, in words: lines of their own, indented or after "$ " or not, and inline code."""
    lines = re.findall(r"^(?:    |\$ )?(\S.*)$", text, re.M) + inline_code(text)
    parts = [part.strip() for line in lines for part in " ".join(line.split()).split("&&")]
    return [shlex.split(part, comments=True) for part in parts if COMMAND.match(part)]


def program_of(words: list[str]) -> tuple[str, list[str]] | None:
    """A module or script of this repository and its arguments; None for any other program."""
    for place, word in enumerate(words):
        if word == "-m" and place + 1 < len(words):
            return (words[place + 1], words[place + 2 :]) if words[place + 1] == "fakedet" else None
        if re.fullmatch(r"[\w./-]+\.(py|sh|mjs)", word):
            return (f"train/{word}" if "/" not in word and word != "app.py" else word), words[place + 1 :]
    return None


@cache
def help_of(program: str, subcommand: str = "") -> str:
    """What the program prints for --help, in this process."""
    printed, before = io.StringIO(), (sys.argv, sys.path[:])
    sys.argv = [program, *([subcommand] if subcommand else []), "--help"]
    try:
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
            if program == "fakedet":
                runpy.run_module(program, run_name="__main__")
            else:
                runpy.run_path(str(ROOT / program), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before
    assert not ended.value.code, f"{program} {subcommand} --help ended with {ended.value.code}"
    return printed.getvalue()


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", text_of(document)):
        path = (ROOT / document).parent / target if target else ROOT / document
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in map(slug, headings), f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_shown_exists(document):
    folder = (ROOT / document).parent
    missing = {
        path for path in PATH.findall(text_of(document)) if not ((ROOT / path).exists() or (folder / path).exists())
    }
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_program_that_is_shown_exists(document):
    programs = {program[0] for words in shown_commands(text_of(document)) if (program := program_of(words))}
    assert not [name for name in programs - {"fakedet"} if not (ROOT / name).is_file()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_that_is_shown_with_a_program_exists(document):
    for words in shown_commands(text_of(document)):
        program, arguments = program_of(words) or ("", [])
        flags = {word.split("=")[0] for word in arguments if word.startswith("--")}
        if flags:
            subcommand = arguments[0] if arguments[0] in SUBCOMMANDS.get(program, ()) else ""
            known = set(re.findall(r"--\w[\w-]*", help_of(program, subcommand)))
            assert flags <= known, shlex.join(words)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_that_is_shown_alone_belongs_to_a_command(document):
    spans = [span.split() for span in inline_code(text_of(document)) if span.startswith("--")]
    alone = {word.split("=")[0] for words in spans for word in words if word.startswith("--")}
    scripts = [path.relative_to(ROOT).as_posix() for path in (ROOT / "train").glob("*.py") if path.stem != "__init__"]
    helps = "".join(
        help_of(program, subcommand)
        for program in ("fakedet", *sorted(scripts))
        for subcommand in ("", *SUBCOMMANDS.get(program, ()))
    )
    accelerate = {"--cpu", "--num_processes", "--multi_gpu"}
    assert alone - accelerate <= set(re.findall(r"--\w[\w-]*", helps))


def python_blocks(document: str) -> list[str]:
    if document == NOTEBOOK:
        cells = json.loads(text_of(document))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        return [re.sub(r"^(\s*)%.*$", r"\1pass", block, flags=re.M) for block in code]
    return re.findall(r"^```python\n(.*?)^```$", text_of(document), re.M | re.S)


@pytest.mark.parametrize("document", [*DOCUMENTS, NOTEBOOK])
def test_every_import_that_is_shown_works(document):
    for block in python_blocks(document):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert not missing, f"{node.module} has no {missing}"


def test_the_documents_show_imports():
    # The test above would pass where its pattern finds no block.
    assert len(python_blocks("README.md")) == 2
    assert len(python_blocks(NOTEBOOK)) > 5


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_method_that_is_shown_exists(document):
    shown = re.findall(r"\b(Detector|Verdict)\.(\w+)", text_of(document))
    assert not [f"{owner}.{name}" for owner, name in shown if not hasattr(getattr(fakedet, owner), name)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_that_is_shown_is_read_somewhere(document):
    code = "".join(path.read_text() for top in ("fakedet", "tests", "train") for path in (ROOT / top).rglob("*.py"))
    code += text_of("app.py")
    settings = set(re.findall(r"\bFAKEDET_[A-Z0-9_]+[A-Z0-9]\b", text_of(document)))
    assert not {name for name in settings if name not in code}


def test_every_example_picture_is_described():
    described = text_of("examples/README.md")
    assert not [path.name for path in (ROOT / "examples/images").iterdir() if f"`{path.name}`" not in described]


def required(file: str) -> list[str]:
    names = re.findall(r"^([A-Za-z0-9_.-]+)", text_of(file), flags=re.M)
    return [name.lower().replace("_", "-") for name in names]


def test_every_dependency_is_listed_once_with_what_it_is_for():
    assert len(required("requirements.txt")) == len(set(required("requirements.txt")))
    assert all("#" in line for line in text_of("requirements.txt").splitlines()[1:])


@cache
def installed_packages() -> dict[str, list[str]]:
    """Top-level package to the distributions that hold it."""
    return importlib.metadata.packages_distributions()


def imported(paths: list[Path]) -> set[str]:
    """Top-level packages that files import, except the standard library and this repository."""
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"fakedet", "train", "app"}


@pytest.mark.parametrize(
    ("places", "files"),
    [
        (("app.py", "fakedet", "train"), ("requirements.txt",)),
        (("examples",), ("requirements.txt", "tests/requirements.txt")),
    ],
)
def test_nothing_but_requirements_is_imported(places, files):
    paths = [
        path for place in places for path in ([ROOT / place] if place == "app.py" else (ROOT / place).rglob("*.py"))
    ]
    listed = {name for file in files for name in required(file)}
    distributions = installed_packages()
    unlisted = {
        name
        for name in imported(paths) - set(BROUGHT)
        if not listed & {made.lower().replace("_", "-") for made in distributions.get(name, [name])}
    }
    assert not unlisted
