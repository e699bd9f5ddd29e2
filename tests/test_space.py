"""The Space: what it holds, the workflow that updates it, and a start in an empty environment."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from conftest import App
from gradio_client import Client, handle_file
from packaging.requirements import Requirement
from publish_material import ROOT, run

from train.publish import main as publish

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "space.yml").read_text())
MODULES = """
import sys
sys.argv = ["publish.py", "space", "--repo", "a/b", "--dry_run"]
from train.publish import main
main()
print("MODULES", *sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def modules() -> list[str]:
    """Everything that `publish.py space` imports."""
    process = subprocess.run([sys.executable, "-c", MODULES], cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout.split("MODULES ")[1].split()


def installed_by(*names: str) -> set[str]:
    """Distributions that pip installs for these, in lower case."""
    done, waiting = set(), [name.lower() for name in names]
    while waiting:
        name = waiting.pop()
        if name not in done:
            done.add(name)
            needed = map(Requirement, requires(name) or ())
            waiting += [part.name.lower() for part in needed if not part.marker or part.marker.evaluate({"extra": ""})]
    return done


@pytest.mark.integration
def test_a_space_holds_what_the_app_needs_and_can_be_pushed_again(stand_in, tmp_path):
    command = ["train/publish.py", "space", "--repo", "lab/show", "--model", "lab/one@v1"]
    model = stand_in.add("lab/one", {"README.md": b"# A card"}, private=True)
    model.tags["v1"] = model.branches["main"]
    assert "lab/one is private: give the Space a secret HF_TOKEN" in run(stand_in, tmp_path, *command)
    repo = stand_in.repo("lab/show", "spaces")
    assert repo.sdk == "gradio" and repo.variables == {"FAKEDET_MODEL": "lab/one@v1"}
    assert {
        "app.py",
        "README.md",
        "requirements.txt",
        "fakedet/hub/checkpoint.py",
        "fakedet/pretrained/config.json",
    } <= set(repo.files)
    assert not [name for name in repo.files if (name.startswith(("train/", "tests/", "."))
                and name != ".gitattributes") or "__pycache__" in name]  # fmt: skip
    assert b"models:\n- lab/one\n" in repo.files["README.md"].data
    commits, variables = len(repo.commits), stand_in.requests.count("POST /api/spaces/lab/show/variables")
    repo.commit(
        dict(repo.files) | {"fakedet/old.py": repo.files["app.py"], "mine.txt": repo.files["app.py"]}, "by hand"
    )
    run(stand_in, tmp_path, *command)
    assert "fakedet/old.py" not in repo.files and "mine.txt" in repo.files and len(repo.commits) == commits + 2
    assert "as before" in run(stand_in, tmp_path, *command) and len(repo.commits) == commits + 2
    assert stand_in.requests.count("POST /api/spaces/lab/show/variables") == variables
    output = run(
        stand_in, tmp_path, "train/publish.py", "space", "--repo", "lab/show", "--model", "lab/nothing", code=2
    )
    assert "lab/nothing does not exist on the Hub" in output


@pytest.mark.integration
def test_the_workflow_syncs_the_space(stand_in, tmp_path):
    # Its last step, as the runner starts it.
    step = WORKFLOW["jobs"]["sync"]["steps"][-1]
    assert set(step["env"]) == {"HF_TOKEN", "SPACE", "MODEL"}
    env = os.environ | stand_in.environment(tmp_path / "home") | {"SPACE": "lab/synced", "MODEL": ""}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    subprocess.run(["bash", "-euc", step["run"]], cwd=ROOT, env=env, check=True, timeout=100)
    assert stand_in.repo("lab/synced", "spaces").variables == {"FAKEDET_MODEL": "bundled"}


@pytest.mark.integration
def test_the_workflow_starts_when_the_command_or_its_modules_change(modules):
    paths = WORKFLOW[True]["push"]["paths"]  # YAML 1.1 reads the key `on` as true
    assert not [pattern for pattern in paths if not list(ROOT.glob(pattern))]
    files = {name.replace(".", "/") for name in modules if name.split(".")[0] == "train"}
    own = {next(path for path in (f"{name}.py", f"{name}/__init__.py") if (ROOT / path).is_file()) for name in files}
    assert own == {path for path in paths if path.startswith("train/")}


@pytest.mark.integration
def test_the_workflow_installs_all_that_the_command_imports(modules):
    names = re.findall(r"[A-Za-z_]+", re.sub(r'[><=!~][^"\s]*', "", WORKFLOW["jobs"]["sync"]["steps"][-2]["run"]))
    assert names[:2] == ["pip", "install"]
    allowed, owners = installed_by(*names[2:]), packages_distributions()
    imported = {dist.lower() for name in modules for dist in owners.get(name.split(".")[0], ())}
    assert imported - {"fakedet", "setuptools", "pip"} <= {part.replace("_", "-") for part in allowed} | allowed


def test_what_should_be_private_is_not_put_where_all_can_see_it(stand_in, capsys):
    stand_in.add("lab/public", {"README.md": b"# here"}, kind="spaces")
    assert publish(["space", "--repo", "lab/public", "--private"]) == 2
    assert "exists and is public" in capsys.readouterr().err
    assert publish(["space", "--repo", "lab/hidden", "--private"]) == 0
    assert stand_in.repo("lab/hidden", "spaces").private


@pytest.mark.integration
@pytest.mark.slow  # installs what the app needs: minutes, and most of a gigabyte
def test_the_space_installs_starts_and_answers(detector):
    with tempfile.TemporaryDirectory(prefix="space-") as made:
        folder = Path(made)
        publish = [sys.executable, "train/publish.py", "space", "--repo", "lab/show", "--output_dir", folder / "app"]
        subprocess.run(publish, cwd=ROOT, check=True)
        assert {path.name for path in (folder / "app").iterdir()} == {
            "LICENSE", "README.md", "app.py", "examples", "fakedet", "requirements.txt"}  # fmt: skip
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        python = str(folder / "venv" / "bin" / "python")
        wanted = folder / "app" / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "-r", wanted], check=True)
        photo = ROOT / "examples" / "images" / "photo_flower.jpg"
        # a home that cannot be written to, whoever runs the tests, and a cache that can
        variables = {"SPACE_ID": "lab/show", "HOME": "/dev/null/home", "HF_HOME": str(folder / "cache"),
                     "FAKEDET_PORT": str(space_port())}  # fmt: skip
        started = App(folder, folder / "app", python, **variables)
        try:
            answer = Client(started.url, verbose=False).predict(handle_file(str(photo)), api_name="/predict")
            assert answer["p_fake"] == pytest.approx(detector.predict(photo).p_fake, abs=1e-3)
        finally:
            started.stop()


def space_port() -> int:
    """7860, as on a Space; another one where that is taken."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 7860)):
            return 7860
        probe.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
