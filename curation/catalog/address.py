"""What the address of a PostgreSQL database says."""

from curation.errors import InputError


def said(url: str) -> dict[str, str]:
    """Its parts by the names that libpq gives them: ``host``, ``dbname``, ``sslmode`` and others.

    Raises:
        InputError: it is not the address of a PostgreSQL database.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(url.replace("postgresql+psycopg:", "postgresql:", 1))
    except ProgrammingError as error:
        # Its own words would repeat the address, and so the password.
        raise InputError(
            "The database's address cannot be understood. Give for example "
            "postgresql://labelloop@db.example.org/labelloop, with special signs of the password "
            "written as %40 and the like."
        ) from error
    return {name: str(value) for name, value in found.items() if value is not None}
