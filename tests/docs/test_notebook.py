"""The notebook runs from its first cell to its last."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial"


# The kernel's own client leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("default::ResourceWarning")
@pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_notebook__runs() -> None:
    notebook = nbformat.read(TUTORIAL / "python.ipynb", as_version=4)
    done = NotebookClient(notebook, timeout=240, kernel_name="python3").execute(cwd=str(TUTORIAL))
    cells = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
