"""Every exception that cbam-search raises on purpose.

CbamSearchError
├── UserError                   the reader can mend it: exit code 2, no traceback
│   ├── ConfigError             the YAML: every mistake at once, with file, line and key path
│   ├── UnknownNameError        a name that no registry holds
│   ├── NotAvailableError       planned, but not in this version
│   ├── ArchitectureError       an architecture that cannot exist
│   ├── SpaceError              a space that is empty or too large for what was asked
│   ├── DataError               images or labels that cannot be used
│   ├── WeightsError            weights that cannot be read, or are another network's
│   ├── CodeNotAllowedError     a user's own code without --allow-code
│   ├── OwnCodeError            a user's own code that is not found, fails, or is not what it must be
│   ├── StudyNotFoundError      no study by that name or in that folder
│   ├── NewerStudyError         a study that a newer version made
│   ├── StudyBusyError          another process drives the study
│   ├── ResourceError           the machine or cluster cannot give what a trial asks for
│   │   └── NobodyListensError  nothing listens where a Ray cluster should be
│   └── ExportError             nothing to export, or nowhere to put it
├── TrainingError               one trial could not be trained
│   ├── CheckpointError         a checkpoint is another training's
│   ├── DivergedError           loss or a metric was not finite
│   └── DeviceMemoryError       the device ran out of memory
├── RecordsError                the durable records are damaged or cannot be written
│   ├── DamagedFileError        one file of one training is damaged; the others can be used
│   ├── HandoverError           the driver cannot keep what a worker hands over
│   └── LeaseLostError          another driver took over the study
├── ClaimLostError              a worker hands something over for an evaluation that is not its own any more
└── StudyFailedError            the study stopped because the same error came again and again

KeyboardInterrupt
├── SignalReceived              a signal other than Ctrl-C ends the command
└── StudyInterrupted            a study was stopped by Ctrl-C, a signal or `cbam-search stop`, and its records are closed
"""

from __future__ import annotations


class CbamSearchError(Exception):
    """Base of every error raised on purpose."""


class UserError(CbamSearchError, ValueError):
    """Something the reader can mend: what, where, what is allowed, what to do."""


class ConfigError(UserError):
    """One or more mistakes in a YAML file, already formatted for the reader."""


class UnknownNameError(UserError):
    """A name that no registry holds; the message lists the valid ones."""


class NotAvailableError(UserError):
    """A setting that a later version will bring."""


class ArchitectureError(UserError):
    """An architecture that cannot exist."""


class SpaceError(UserError):
    """A search space that is empty, or too large for what was asked of it."""


class DataError(UserError):
    """Images or labels that cannot be used."""


class WeightsError(UserError):
    """Weights that cannot be read, or that are another network's."""


class CodeNotAllowedError(UserError):
    """The YAML names the user's own code and `--allow-code` was not given."""


class OwnCodeError(UserError):
    """A user's own code that is not found, fails, or is not what it must be."""


class StudyNotFoundError(UserError):
    """No study by that name or in that folder."""


class NewerStudyError(UserError):
    """A study that a newer version made, and that this one cannot read."""


class StudyBusyError(UserError):
    """Another process drives the study."""


class ResourceError(UserError):
    """The machine or cluster cannot give what one trial asks for."""


class NobodyListensError(ResourceError):
    """Nothing listens at the address of a Ray cluster: no cluster can be there."""


class ExportError(UserError):
    """Nothing to export, or nowhere to put it."""


class TrainingError(CbamSearchError):
    """One trial could not be trained."""


class CheckpointError(TrainingError):
    """A checkpoint is another training's, or of a version that wrote otherwise."""


class DivergedError(TrainingError):
    """Loss or a metric was not finite."""


class DeviceMemoryError(TrainingError):
    """The device ran out of memory."""


class RecordsError(CbamSearchError):
    """The durable records are damaged or cannot be written."""


class DamagedFileError(RecordsError):
    """One file of one training is damaged; the others can be used."""


class HandoverError(RecordsError):
    """The driver cannot keep what a worker hands over."""


class LeaseLostError(RecordsError):
    """Another driver took over the study; this one must write nothing more."""


class ClaimLostError(CbamSearchError):
    """A worker hands something over for an evaluation that has ended, or that another worker goes on with."""


class StudyFailedError(CbamSearchError):
    """The study cannot go on: the same error came again and again, nothing was feasible, or Ray is gone."""


class SignalReceived(KeyboardInterrupt):
    """A signal ends the command, as Ctrl-C does. exit_code: 128 and the signal's number, as shells count."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


class StudyInterrupted(KeyboardInterrupt):
    """A study was stopped by Ctrl-C, a signal or `cbam-search stop`. Its records are closed, and it can be resumed.

    run: what `resume` takes. exit_code: of a command that was stopped so.
    """

    def __init__(self, message: str, *, run: str, exit_code: int) -> None:
        super().__init__(message)
        self.run = run
        self.exit_code = exit_code
