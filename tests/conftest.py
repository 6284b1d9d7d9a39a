"""Fixtures that every test folder may use."""

pytest_plugins = ["tests.fixtures_label_studio", "tests.fixtures_postgresql"]
