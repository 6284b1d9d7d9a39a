"""Who is behind a log-in: Label Studio's accounts and the names that annotators were invited by."""

import re
from collections.abc import Iterable

from curation.catalog import Connection as Catalog
from curation.catalog import annotations
from curation.workspace import Project
from labeling.connection import Connection
from labeling.remote import RemoteUser


def match(user: RemoteUser, names: Iterable[str]) -> str | None:
    """The invited name that an account goes by, or None.

    An invitation link cannot say whom it was for, so the account must: by its name, its e-mail
    address, or the part of it before the @. Case, spaces and punctuation do not count.

    >>> match(RemoteUser(7, "anna.berg@example.org", "anna.berg@example.org"), ["Anna Berg"])
    'Anna Berg'
    """
    signs = {_plain(user.name), _plain(user.email), _plain(user.email.partition("@")[0])} - {""}
    return next((name for name in names if _plain(name) in signs), None)


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text.casefold())


def user_ids(project: Project, connection: Connection, name: str) -> list[int]:
    """The log-ins of an annotator; none where they have not made one.

    Who has not answered anything yet is known by the account's name only.
    """
    with project.catalog.read() as reading:
        known = {
            row["name"]: row["remote_user_id"] for row in annotations.accounts(reading, project.id)
        }
    if known.get(name) is not None:
        return [known[name]]
    return [user.id for user in connection.users() if match(user, [name])]


def annotator_ids(
    writing: Catalog, project_id: int, user_ids: Iterable[int], users: Iterable[RemoteUser]
) -> dict[int, int]:
    """Our annotator ids by Label Studio's user ids, added where they are new.

    Args:
        user_ids: of the answers; 0 for accounts that are gone.
        users: everybody with a log-in there.
    """
    accounts = {user.id: user for user in users}
    known = annotations.accounts(writing, project_id)
    invited = [
        row["name"] for row in known if row["remote_user_id"] is None and row["kind"] == "person"
    ]
    found: dict[int, int] = {}
    for user_id in sorted(set(user_ids)):
        account = accounts.get(user_id)
        name = f"user {user_id}" if account is None else match(account, invited) or account.name
        found[user_id] = annotations.annotator_of_user(writing, project_id, user_id, name=name)
        invited = [other for other in invited if other != name]
    return found
