"""What can go wrong for a user, as a tree.

LoupeError
├── OptionError        an option, or two together, that cannot be meant
├── TaskError          a task file that does not declare a task
├── SampleError        the sample catalogue cannot be made
├── BuildError         a table or folder from which no dataset can be built
├── DatasetError       a folder that is not a finished dataset
├── CheckpointError    a folder from which no model can be loaded
├── TrainError         a training run that cannot start or cannot go on
├── StoppedError       a run that a signal ended, with a whole checkpoint to go on from
├── PreferError        preference tuning that cannot start or has nothing to learn from
├── CalibrationError   a calibration that cannot be made, read or used
├── EvaluateError      an evaluation that cannot be made
├── PredictError       a picture or answer that cannot be had
└── MissingExtraError  a feature whose optional packages are not installed

Every message answers three questions: what happened, what was expected, what to do. A row or a
picture that fails is data and is reported with its reason; only a run that cannot go on raises.
"""


class LoupeError(Exception):
    """The root of all errors that Loupe raises on purpose."""


class OptionError(LoupeError):
    """An option, or two together, that cannot be meant."""


class TaskError(LoupeError):
    """A task file that does not declare a task."""


class SampleError(LoupeError):
    """The sample catalogue cannot be made."""


class BuildError(LoupeError):
    """A table or folder from which no dataset can be built."""


class DatasetError(LoupeError):
    """A folder that is not a finished dataset."""


class CheckpointError(LoupeError):
    """A folder from which no model can be loaded."""


class TrainError(LoupeError):
    """A training run that cannot start or cannot go on."""


class StoppedError(LoupeError):
    """A run that a signal ended, with a whole checkpoint to go on from."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
        """What a shell gives for a process that the signal ended: 143 for SIGTERM."""


class PreferError(LoupeError):
    """Preference tuning that cannot start, or that has nothing to learn from."""


class CalibrationError(LoupeError):
    """A calibration that cannot be made, read or used."""


class EvaluateError(LoupeError):
    """An evaluation that cannot be made."""


class PredictError(LoupeError):
    """A picture or answer that cannot be had."""


class MissingExtraError(LoupeError):
    """A feature whose optional packages are not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs {package}: pip install 'loupe-vlm[{extra}]'")
