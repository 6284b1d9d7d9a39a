"""Label Studio's settings as its own process reads them, with what has no variable of its own.

Django's way to be configured: a module of settings, named in ``DJANGO_SETTINGS_MODULE``. Nothing of
labelloop imports it.

On SQLite, Label Studio looks for the next image and locks it in two steps, and two people who ask
at the same moment are given the same one. One turn after the other they are not
(`labeling.turns`). A transaction that begins with a read and then writes fails at once where
another one wrote in between, whatever the time-out is; one that announces its write waits. And with
a write-ahead log, as the catalog has one, nobody who reads waits for who writes.
"""

import json
import os
import sys

from curation.catalog.session import SAFE_SQLITE, sqlite_module

SQLITE_WAIT_SECONDS = 60

_sqlite = sqlite_module()
if _sqlite.__name__ != "sqlite3":
    # Django asks for Python's own module, whose SQLite is the operating system's.
    sys.modules["sqlite3"] = sys.modules[_sqlite.__name__.partition(".")[0]]
    sys.modules["sqlite3.dbapi2"] = _sqlite

# While they are read, Label Studio's settings ask Django for some of themselves, by this name.
_ours = os.environ["DJANGO_SETTINGS_MODULE"]
os.environ["DJANGO_SETTINGS_MODULE"] = "label_studio.core.settings.label_studio"
from label_studio.core.settings.label_studio import *  # noqa: E402, F403
from label_studio.core.settings.label_studio import DATABASES, DJANGO_DB, MIDDLEWARE  # noqa: E402

os.environ["DJANGO_SETTINGS_MODULE"] = _ours

if DJANGO_DB == "sqlite":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": SQLITE_WAIT_SECONDS,
        "transaction_mode": "IMMEDIATE",
    }
    if _sqlite.sqlite_version_info >= SAFE_SQLITE:
        DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL"
    MIDDLEWARE.insert(0, "labeling.turns.OneAtATime")
else:
    DATABASES["default"]["OPTIONS"] = json.loads(os.environ["LABELLOOP_DATABASE_OPTIONS"])
    # A connection of its own for every request takes PostgreSQL longer than most requests do.
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
