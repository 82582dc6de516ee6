"""Errors whose message is a sentence for the person who caused them."""


class UserError(ValueError):
    """An error whose message says what was expected, what came and what to do."""


class ScanError(UserError):
    """A file is not a readable scan."""


class PhaseError(UserError):
    """A file is not a usable crystal structure."""


class ModelError(UserError):
    """A file is not a usable trained network."""


class DownloadError(UserError):
    """Something could not be fetched, or what came is not what was asked for."""


class DataError(UserError):
    """Patterns or settings do not fit together."""
