"""What design rules ask for that neither ruff nor import-linter can see."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("curation", "labeling", "training", "ui")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_web_folder__hides_no_package() -> None:
    # Streamlit puts the folder of the page it runs first on sys.path.
    names = {path.stem for path in (ROOT / "ui" / "web").iterdir()}
    tops = {name.split(".")[0] for path in MODULES for name in imported(parse(path))}
    assert len(tops) > 20
    assert not names & (tops | {*PACKAGES, "labelloop", "tests", "benchmarks", "sample_data"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module__pickles_nothing(path: Path) -> None:
    tree = parse(path)
    assert not {name.split(".")[0] for name in imported(tree)} & PICKLING
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "weights_only"}:
            safe = node.arg == "weights_only"
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is safe


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module__draws_from_no_global_randomness(path: Path) -> None:
    seeded = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "BitGenerator"}
    if path.name == "objective.py":  # timm's Mixup draws them: seeded before, put back afterwards
        seeded |= {"get_state", "seed", "set_state"}
    tree = parse(path)
    assert "random" not in imported(tree)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "random"
            and isinstance(node.value.value, ast.Name)
            and node.value.value.id in {"np", "numpy"}
        ):
            assert node.attr in seeded, f"np.random.{node.attr} in line {node.lineno}"


def test_catalog__speaks_sql_alone() -> None:
    speakers = {
        path.relative_to(ROOT).parts[:2]
        for path in MODULES
        if {name.split(".")[0] for name in imported(parse(path))}
        & {"sqlalchemy", "alembic", "sqlite3", "pysqlite3", "psycopg"}
    }
    assert speakers == {("curation", "catalog")}
