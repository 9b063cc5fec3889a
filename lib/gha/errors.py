"""The one exception family of the library: every error a user can cause says found against expected."""


class GhaError(Exception):
    """Base of every error that the user, rather than the library, can mend."""


class InputError(GhaError):
    """A file or value handed in is not what was expected; the message names it."""


class TrainingError(GhaError):
    """Training cannot go on (non-finite loss, a lost surface); the message says where and what to try."""


class CheckpointError(GhaError):
    """A checkpoint cannot be written, found, verified or used; the message says which and what is still there."""
