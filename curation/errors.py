"""Every error that labelloop raises on purpose.

The command line prints one of these as a single line and ends with exit code 1; a page shows it
with `st.error`. Anything else keeps its traceback, because it is a fault of ours. A message says
what happened, with the values, and the next step.

    LabelloopError
    ├── WorkspaceError              no workspace here, one already here, unreadable settings
    ├── CatalogError                the database cannot be used
    │   ├── CatalogBusy             another writer held it for longer than the timeout
    │   └── CatalogDamaged          integrity check failed, or it comes from a newer labelloop
    ├── NotFound                    no image, round, run, project of that name
    ├── InputError                  something the user gave cannot be used (file, line, value)
    │   └── UnreadableImage         one image that is quarantined; `reason` says why
    ├── BackboneError               weights missing, or an unknown model name
    │   └── FingerprintMismatch     embeddings of another backbone or preprocessing
    ├── SelectionError              a strategy cannot choose
    │   ├── NeedsModel              the strategy needs probabilities and there is no model yet
    │   └── PoolTooSmall            more images asked for than the pool holds
    ├── TrainingError               the labels or settings do not allow a model
    │   └── Interrupted             it stopped for another reason; the same call goes on
    ├── LabelStudioError            Label Studio answered, but not with what is needed
    │   ├── LabelStudioUnreachable  nothing answers at the address
    │   ├── LabelStudioRefused      the token is wrong or not allowed
    │   └── LabelStudioProjectGone  the project was deleted there
    ├── RoundError                  a round cannot start or go on
    └── Cancelled                   the user asked a job to stop
"""


class LabelloopError(Exception):
    """The root: a message that a user can act on."""


class WorkspaceError(LabelloopError):
    """No workspace here, one already here, or unreadable settings."""


class CatalogError(LabelloopError):
    """The database cannot be used."""


class CatalogBusy(CatalogError):
    """Another writer held the catalog for longer than the timeout."""


class CatalogDamaged(CatalogError):
    """The integrity check failed, or the catalog was written by a newer labelloop."""


class NotFound(LabelloopError):
    """No image, round, run or project of that name."""


class InputError(LabelloopError):
    """Something that the user gave cannot be used."""


class UnreadableImage(InputError):
    """One image that cannot be decoded safely.

    Attributes:
        reason: why, in a few words, without the image's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BackboneError(LabelloopError):
    """Weights are missing, or the model name is unknown."""


class FingerprintMismatch(BackboneError):
    """Embeddings of another backbone or another preprocessing."""


class SelectionError(LabelloopError):
    """A strategy cannot choose."""


class NeedsModel(SelectionError):
    """The strategy needs class probabilities and there is no model yet."""


class PoolTooSmall(SelectionError):
    """More images were asked for than the pool holds."""


class TrainingError(LabelloopError):
    """The labels or the settings do not allow a model to be trained."""


class Interrupted(TrainingError):
    """A training stopped for a reason that lies elsewhere; the same call goes on."""


class LabelStudioError(LabelloopError):
    """Label Studio answered, but not with what is needed."""


class LabelStudioUnreachable(LabelStudioError):
    """Nothing answers at the address."""


class LabelStudioRefused(LabelStudioError):
    """The token is wrong or not allowed to do this."""


class LabelStudioProjectGone(LabelStudioError):
    """The project was deleted in Label Studio."""


class RoundError(LabelloopError):
    """A round cannot start or go on."""


class Cancelled(LabelloopError):
    """The user asked a job to stop."""
