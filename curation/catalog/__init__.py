"""The catalog: the one place where labelloop's rows live, and the only package that speaks SQL.

One module per entity; each function takes the connection of `Catalog.read()` or `Catalog.write()`,
so that a caller decides what belongs into one transaction.
"""

from sqlalchemy import Connection

from curation.catalog.session import Catalog

__all__ = ["Catalog", "Connection"]
