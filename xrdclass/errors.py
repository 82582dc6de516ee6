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


def need_range(name, value):
    """Raise a `DataError` unless a setting is a range: two numbers, smallest and largest."""
    two = isinstance(value, (tuple, list)) or getattr(value, "shape", None) == (2,)
    if not two or len(value) != 2 or any(isinstance(v, (str, type(None))) for v in value):
        raise DataError(
            f"{name} must be a range, two numbers such as (1, 2) or twice the same; got {value!r}."
        )
