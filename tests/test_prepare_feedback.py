"""train/prepare.py feedback: reports of wrong answers become a collection once a person has reviewed them."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image
from prepare_material import fail, folder, picture, private_cache, run  # noqa: F401 (a fixture)
from publish_material import run as run_with_hub

from fakedet.web.feedback.pictures import pixels_alone
from fakedet.web.feedback.store import ReportStore
from train import prepare

pytestmark = pytest.mark.usefixtures("private_cache")


def report(number: int, **fields) -> dict:
    """A report as the app stores it."""
    return {
        "id": f"{number:032x}", "time": "2026-11-27T21:00:00+00:00", "truth": "real", "how": "I took it.",
        "verdict": "fake", "p_fake": 0.9, "image": {"sha256": f"{number:064x}"},
    } | fields  # fmt: skip


def photo(number: int) -> bytes:
    return pixels_alone(Image.fromarray(picture(number, 64)))


@pytest.fixture
def reports(tmp_path):
    """A folder of 24 reports with pictures and one without."""
    store = ReportStore(tmp_path / "reports", 10**8)
    for number in range(24):
        store.add(report(number), photo(number))
    store.add(report(99, how="=cmd|'/c calc'!A1"))
    return tmp_path / "reports"


def listed(tmp_path, source) -> list[dict]:
    """Runs the command; returns the lines of review.csv."""
    assert prepare.main(["feedback", "--reports", str(source), "--output_dir", str(tmp_path / "list")]) == 0
    with (tmp_path / "list" / "review.csv").open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def fill(tmp_path, rows: list[dict], words) -> str:
    """Writes words into the column `reviewed`, as a person does; returns the path of the list."""
    path = tmp_path / "list" / "review.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"reviewed": word} for row, word in zip(rows, words, strict=True))
    return str(path)


def test_only_reviewed_reports_become_images_with_the_reviewers_label(tmp_path, reports):
    rows = listed(tmp_path, reports)
    assert len(rows) == 24 and {row["reviewed"] for row in rows} == {""} and {row["truth"] for row in rows} == {"real"}
    words = ["fake"] * 10 + ["Real"] * 10 + ["graphic", "no", "", ""]
    splits, _ = run(tmp_path, fill(tmp_path, rows, words), flags=("--source", "feedback"))
    labels = [label for ds in splits.values() for label in ds["label"]]
    assert sorted(labels) == [0] * 10 + [1] * 10
    assert {source for ds in splits.values() for source in ds["source"]} == {"feedback"}


def test_reviewed_reports_join_another_collection(tmp_path, reports):
    path = fill(tmp_path, listed(tmp_path, reports), ["fake", "real"] * 12)
    splits, _ = run(tmp_path, str(folder(tmp_path / "in", {"real": range(50, 60), "fake": range(60, 70)})), path)
    assert sum(map(len, splits.values())) == 44


def test_new_reports_are_added_and_what_a_person_wrote_stays(tmp_path, reports):
    fill(tmp_path, listed(tmp_path, reports), ["fake"] * 24)
    ReportStore(reports, 10**8).add(report(50), photo(50))  # the app was started again
    rows = listed(tmp_path, reports)
    assert [row["reviewed"] for row in rows] == ["fake"] * 24 + [""]


def test_a_line_that_breaks_off_is_left_out(tmp_path, reports, capsys):
    (lines,) = reports.rglob("reports.jsonl")
    lines.write_bytes(lines.read_bytes() + b'{"id": "00ff", "tru')
    assert len(listed(tmp_path, reports)) == 24
    assert "1 lines break off" in capsys.readouterr().out


def test_a_report_names_no_file_outside_of_its_folder(tmp_path, reports):
    (lines,) = reports.rglob("reports.jsonl")
    forged = json.dumps(report(7, picture="../../../etc/passwd") | {"id": "f"})
    lines.write_text(lines.read_text() + forged + "\n")
    assert "f" not in {row["id"] for row in listed(tmp_path, reports)}


def test_a_visitors_text_is_no_formula_of_a_spreadsheet(tmp_path):
    store = ReportStore(tmp_path / "reports", 10**8)
    store.add(report(1, how="=cmd|'/c calc'!A1"), photo(1))
    assert listed(tmp_path, tmp_path / "reports")[0]["how"].startswith("'=")


@pytest.mark.integration
def test_reports_of_a_hub_data_set_are_listed(tmp_path, reports, stand_in):
    files = {path.relative_to(reports).as_posix(): path.read_bytes() for path in reports.rglob("*") if path.is_file()}
    stand_in.add("lab/reports", files, kind="datasets")
    output = run_with_hub(stand_in, tmp_path, "train/prepare.py", "feedback", "--reports", "lab/reports",
                          "--output_dir", tmp_path / "list")  # fmt: skip
    assert "25 reports, 24 with a picture, 24 of them new" in output
    assert len(list((tmp_path / "list").rglob("*.jpg"))) == 24


def test_a_misspelt_word_and_an_unreviewed_list_are_told(tmp_path, reports, capsys):
    rows = listed(tmp_path, reports)
    unreviewed = str(tmp_path / "list" / "review.csv")
    assert "no line with real or fake" in fail(capsys, tmp_path, "--data", unreviewed)
    path = fill(tmp_path, rows, ["rael"] + [""] * 23)
    assert "line 2: reviewed is real, fake, graphic or no, not rael" in fail(capsys, tmp_path, "--data", path)
