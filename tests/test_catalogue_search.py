"""train/prepare.py catalogue: where a picture is searched, and what is cloned and fetched."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_repositories import catalogue, commit, encode, git, line, lose, one, reasons, report, rows, run, run_process


@pytest.mark.integration
def test_the_named_commit_is_searched(tmp_path):
    folder = one(tmp_path, encode(1))
    commit(folder, a_png=encode(2))
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
def test_head_is_searched_where_the_commit_is_unknown(tmp_path):
    commit(tmp_path / "mirror" / "ann+one" / "repo", a_png=encode(1))
    one(tmp_path, encode(1), commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
def test_the_history_is_searched_by_file_name(tmp_path):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, old__a_png=encode(1))
    commit(folder, old__a_png=None, new__b_png=encode(2))
    one(tmp_path, encode(1), "elsewhere/a.png", commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
def test_the_history_of_another_branch_is_searched(tmp_path):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, b_png=encode(2))
    git(folder, "checkout", "-q", "-b", "side")
    commit(folder, a_png=encode(1))
    git(folder, "checkout", "-q", "main")
    one(tmp_path, encode(1), commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
def test_the_history_of_a_merge_is_searched(tmp_path):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, b_png=encode(2))
    git(folder, "checkout", "-q", "-b", "side")
    commit(folder, c_png=encode(3))
    git(folder, "checkout", "-q", "-b", "merged", "main")
    commit(folder, d_png=encode(4))
    git(folder, "merge", "-q", "--no-commit", "side")
    commit(folder, a_png=encode(1))
    git(folder, "checkout", "-q", "main")
    one(tmp_path, encode(1), commit="1" * 40)
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
@pytest.mark.parametrize("name", ["ünï cödé.png", "[a]*?.png", '"quoted".png', "-n.png"])
def test_odd_file_names_are_found_in_the_commit_and_in_the_history(tmp_path, name):
    folder = tmp_path / "mirror" / "ann+one" / "repo"
    commit(folder, x_png=encode(2))
    (folder / name).write_bytes(encode(1))
    (folder / "a.png").write_bytes(encode(3))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "odd")
    at = git(folder, "rev-parse", "HEAD")
    (folder / name).unlink()
    commit(folder, x_png=encode(4))
    catalogue(tmp_path, line("ann/one", "1" * 40, name, encode(1)), line("ann/one", at, "a.png", encode(3)))
    run(tmp_path)
    assert len(rows(tmp_path)) == 2


@pytest.mark.integration
def test_a_path_that_never_was_is_absent(tmp_path):
    one(tmp_path, encode(1), commit=commit(tmp_path / "mirror" / "ann+one" / "repo", b_png=encode(2)))
    run(tmp_path, status=2)
    assert reasons(tmp_path) == {"a.png": "blob_absent"}


@pytest.mark.integration
def test_a_folder_that_is_no_clone_is_absent_even_inside_another_repository(tmp_path):
    commit(tmp_path / "mirror", a_png=encode(1))
    (tmp_path / "mirror" / "ann+one" / "repo").mkdir(parents=True)
    catalogue(tmp_path, line("ann/one", "1" * 40, "a.png", encode(1)))
    run(tmp_path, status=2)
    assert reasons(tmp_path) == {"a.png": "repository_absent"}


@pytest.mark.integration
@pytest.mark.parametrize("layout", ["repo", "", "repo/.git", "bare"])
def test_layouts_of_a_clone(tmp_path, layout):
    folder = tmp_path / "mirror" / "ann+one" / ("repo" if layout.startswith("repo") else "")
    at = commit(tmp_path / "origin", a_png=encode(1))
    git(tmp_path, "clone", "-q", *(["--bare"] if layout == "bare" else []), "origin", str(folder))
    if layout == "repo/.git":
        (folder / "a.png").unlink()
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run(tmp_path)
    assert len(rows(tmp_path)) == 1


# --- cloning -------------------------------------------------------------------------------------------------------


def serve(tmp_path: Path, repo: str, **files: bytes) -> str:
    """Commit files to a repository below tmp_path/base that serves partial clones, as GitHub does."""
    at = commit(tmp_path / "base" / repo, **files)
    for key in ("allowFilter", "allowAnySHA1InWant"):
        git(tmp_path / "base" / repo, "config", f"uploadpack.{key}", "true")
    return at


def base(tmp_path: Path) -> tuple[str, ...]:
    return "--clone", "--git_base", (tmp_path / "base").as_uri()


def objects(tmp_path: Path, repo: str) -> set[str]:
    folder = tmp_path / "mirror" / repo / "repo"
    listing = git(folder, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectsize)", "--unordered")
    return {size for kind, size in map(str.split, listing.splitlines()) if kind == "blob"}


@pytest.mark.integration
def test_clone_fetches_the_wanted_files_only(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1), b_png=encode(2, (50, 50)))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run_process(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 1
    assert objects(tmp_path, "ann+one") == {str(len(encode(1)))}


@pytest.mark.integration
def test_clone_takes_a_plain_folder_as_its_base(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run(tmp_path, "--clone", "--git_base", str(tmp_path / "base"))
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
def test_clone_finds_a_picture_in_the_history(tmp_path):
    serve(tmp_path, "ann/one", old__a_png=encode(1))
    commit(tmp_path / "base" / "ann" / "one", old__a_png=None, b_png=encode(2))
    catalogue(tmp_path, line("ann/one", "", "a.png", encode(1)))
    run(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 1


@pytest.mark.integration
def test_clone_gets_the_others_where_the_remote_lacks_one_blob(tmp_path):
    files = {f"p{k}_png": encode(k) for k in range(5)}
    at = serve(tmp_path, "ann/one", **files)
    lose(tmp_path / "base" / "ann" / "one", encode(3))
    catalogue(tmp_path, *(line("ann/one", at, f"p{k}.png", encode(k)) for k in range(5)))
    run(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 4
    assert reasons(tmp_path) == {"p3.png": "blob_absent"}


@pytest.mark.integration
def test_clone_completes_a_clone_of_an_earlier_run(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1), b_png=encode(2))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)))
    run(tmp_path, *base(tmp_path))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)), line("ann/one", at, "b.png", encode(2)))
    run(tmp_path, *base(tmp_path))
    assert len(rows(tmp_path)) == 2


@pytest.mark.integration
def test_without_clone_nothing_is_fetched_into_a_partial_clone(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1), b_png=encode(2), c_png=encode(3))
    catalogue(tmp_path, line("ann/one", at, "b.png", encode(2)))
    run(tmp_path, *base(tmp_path))
    catalogue(tmp_path, *(line("ann/one", at, f"{name}.png", encode(k)) for k, name in enumerate("abc", 1)))
    run(tmp_path)
    assert reasons(tmp_path) == {"a.png": "blob_absent", "c.png": "blob_absent"}


@pytest.mark.integration
def test_a_repository_that_cannot_be_cloned_is_reported_with_gits_reason(tmp_path):
    at = serve(tmp_path, "ann/one", a_png=encode(1))
    catalogue(tmp_path, line("ann/one", at, "a.png", encode(1)), line("bob/gone", at, "b.png", encode(2)))
    run(tmp_path, *base(tmp_path))
    item = report(tmp_path)["missing_pictures"][0]
    assert (item["repo"], item["reason"]) == ("bob/gone", "repository_absent")
    assert item["detail"]


@pytest.mark.integration
def test_a_failed_clone_leaves_no_folder(tmp_path):
    catalogue(tmp_path, line("bob/gone", "", "b.png", encode(2)))
    run(tmp_path, *base(tmp_path), status=2)
    assert not list((tmp_path / "mirror").glob("*"))
