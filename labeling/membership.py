"""Gives people their access to our own Label Studio back, which its API can only take away.

    python -m labeling.membership USER

run in the server's environment, undoes what deleting a membership does there. The server need not
be stopped for it. Of labelloop only `give_back` is for others; the rest runs in that process alone.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from curation.errors import LabelStudioError
from labeling import server

SECONDS = 120


def give_back(folder: Path, user_ids: Sequence[int]) -> None:
    """Makes people members again.

    Args:
        folder: data folder of our own server, which runs.
        user_ids: Label Studio's.

    Raises:
        LabelStudioError: it does not run, or the change failed.
    """
    found = server.attach(folder)
    if found is None:
        raise LabelStudioError(
            "Label Studio does not run. Start it with `labelloop up`, then run this again."
        )
    try:
        settings = psutil.Process(found.address.pid).environ()
    except psutil.Error as error:
        raise LabelStudioError(
            f"Label Studio's process {found.address.pid} cannot be looked at: {error}. Run this as "
            "the user who started it."
        ) from error
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "labeling.membership", *map(str, user_ids)],
        env={**settings, "PYTHONPATH": root},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise LabelStudioError(
            f"The access could not be given back. Label Studio said: {said[0]}. Start it anew with "
            "`labelloop down` and `labelloop up`, then run this again."
        )


def main() -> None:
    """Undoes the end of memberships."""
    from label_studio import server as theirs

    sys.path.insert(0, theirs.LS_PATH)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "label_studio.core.settings.label_studio")
    import django

    django.setup()
    from organizations.models import OrganizationMember

    for user_id in map(int, sys.argv[1:]):
        for member in OrganizationMember.objects.filter(user_id=user_id):
            member.deleted_at = None
            member.save(update_fields=["deleted_at"])
            member.user.active_organization = member.organization
            member.user.save(update_fields=["active_organization"])


if __name__ == "__main__":
    main()
