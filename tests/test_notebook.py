"""The notebook in examples/ runs from the first cell to the last, against a stand-in for the Hub."""

from pathlib import Path

import nbformat
import pytest
from huggingface_hub import ModelCard
from nbclient import NotebookClient
from publish_material import TINY, draw_photos

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.integration
def test_the_notebook_looks_trains_reads_and_pushes(stand_in, tmp_path, monkeypatch):
    draw_photos(tmp_path / "photos", 30)
    settings = {
        "DATA": str(tmp_path / "photos"),
        "WORK": str(tmp_path),
        "REPO": "lab/notebook",
        "FLAGS": " ".join(TINY),
    }
    for key, value in (settings | stand_in.environment(tmp_path / "home")).items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(ROOT / "examples" / "pictures_to_hub.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 9 <= len(cells) <= 12 and not any(cell.outputs for cell in cells)
    folder = {"metadata": {"path": str(ROOT / "examples")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    texts = [str(output) for cell in cells for output in cell.outputs]
    assert not [text for text in texts if "Traceback" in text or "SystemExit" in text]
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4 and any("JPEG quality estimated" in text for text in texts)
    repo = stand_in.repo("lab/notebook")
    card = ModelCard(repo.files["README.md"].data.decode())
    assert list(repo.tags) == ["v1"] and "report.json" in repo.files and card.data.eval_results
