"""The notebooks in docs/notebooks run from the first cell to the last, in a folder of their own."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def shown(notebook: Any) -> list[dict[str, Any]]:
    """What the cells show, by type."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data for output in outputs if "data" in output]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, 4)
    assert [cell.id for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == [], "save it without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    found = shown(notebook)
    assert any("image/png" in data for data in found)
    if path.stem != "3_from_a_recipe":
        bars = [data["text/html"] for data in found if "<progress" in data.get("text/html", "")]
        assert bars
        assert all('value="' in bar for bar in bars)


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3
