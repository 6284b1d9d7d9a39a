"""Label Studio's database in PostgreSQL: its address, as its settings want it.

It is one of its own beside the catalog's, on the same server: both have tables of everyday names.
"""

import json
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

from curation.catalog import address
from curation.errors import InputError

SUFFIX = "_label_studio"
LONGEST_NAME = 63  # what PostgreSQL cuts names to, silently
PORT = "5432"
# What `labeling.serving_settings` reads, beside the variables that Label Studio knows by itself.
MORE = "LABELLOOP_DATABASE_OPTIONS"


@dataclass(frozen=True)
class Database:
    """Where Label Studio keeps its data.

    Attributes:
        options: whatever else the address said, such as ``sslmode``, in libpq's words.
    """

    name: str
    user: str
    host: str
    port: str
    password: str = field(repr=False)
    options: dict[str, str] = field(repr=False)

    def variables(self) -> dict[str, str]:
        """What the environment of Label Studio's process says, which no other user can read.

        A password that is not named is looked up by libpq, in ``~/.pgpass`` for example.
        """
        return {
            "DJANGO_DB": "default",
            "POSTGRE_NAME": self.name,
            "POSTGRE_USER": self.user,
            "POSTGRE_PASSWORD": self.password,
            "POSTGRE_HOST": self.host,
            "POSTGRE_PORT": self.port,
            MORE: json.dumps(self.options),
        }


def beside(url: str) -> str:
    """The address of Label Studio's database, from that of the catalog's.

    Raises:
        InputError: the name would be too long.

    >>> beside("postgresql+psycopg://me@db.example.org/loop?sslmode=require")
    'postgresql://me@db.example.org/loop_label_studio?sslmode=require'
    """
    parts = urlsplit(url)
    name = parts.path.strip("/") + SUFFIX
    if len(name) > LONGEST_NAME:
        raise InputError(
            f"The database's name {parts.path.strip('/')!r} is too long: Label Studio's would be "
            f"{name!r}, and PostgreSQL allows {LONGEST_NAME} signs. Use a shorter one."
        )
    return urlunsplit(parts._replace(scheme="postgresql", path=f"/{quote(name)}"))


def parsed(url: str) -> Database:
    """What an address says.

    Raises:
        InputError: it is not the address of a PostgreSQL database.
    """
    found = address.said(url)
    return Database(
        name=found.pop("dbname", ""),
        user=found.pop("user", ""),
        host=found.pop("host", ""),
        port=found.pop("port", PORT),
        password=found.pop("password", ""),
        options=found,
    )
