"""The one kind of error that is shown to the user without a traceback."""


class InputError(Exception):
    """Something the user gave cannot be used: a setting, a file, a cohort, a study.

    The message fits one screen, names what is wrong and says what to do about it. It never holds
    a patient's name, date or pixels. Any other exception is a fault of the program and keeps its
    traceback.
    """


class DivergedError(InputError):
    """A training whose loss or gradient is not finite: most often its learning rates are too high."""


class PrunedError(Exception):
    """A trial of a tuning was ended early, because others did better up to the same epoch."""


class StoreGoneError(InputError):
    """The MLflow store does not answer: whatever comes next cannot be logged either."""
