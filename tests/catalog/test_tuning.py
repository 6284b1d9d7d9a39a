"""Trials beside the catalog, in the same database."""

from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, inspect, text

from curation.catalog import Catalog, tuning
from curation.errors import CatalogError


def test_address__trials_do_not_touch_the_catalog(new_url: str, tmp_path: Path) -> None:
    Catalog(new_url).close()
    at_first = _versions(new_url)
    sqlite = new_url.startswith("sqlite")
    url = tuning.address(tmp_path, "" if sqlite else new_url)
    for _ in range(2):
        storage = optuna.storages.RDBStorage(url, engine_kwargs=dict(tuning.options(url)))
        study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
        study.tell(study.ask(), 0.5)
        found = len(study.trials)
        storage.remove_session()
        storage.engine.dispose()
    assert found == 2
    assert _versions(new_url) == at_first
    Catalog(new_url).close()  # opens, so its own version is as it was
    if sqlite:
        assert (tmp_path / "tuning.sqlite3").exists()


def _versions(url: str) -> list[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        assert not inspect(connection).has_table("trials")
        found = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    engine.dispose()
    return found


def test_address__what_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="Not a database's address"):
        tuning.address(tmp_path, "nonsense")
    with pytest.raises(CatalogError, match="cannot be used for trials"):
        tuning.address(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=2")
