"""Every error that an operator can meet, in one tree.

    EdgeKitError                       KIT-001
      UsageError                       USAGE-001   a command was called with wrong arguments
      InputError                       INPUT-001   what a caller handed in cannot be used
        ImageError                     IMAGE-001   not a picture, damaged, or too large
        PdfError                       PDF-001     not a PDF, encrypted, or too long
        TextError                      TEXT-001    empty or too long
        ApplicationError               APP-001     application.json or a file that it names
        RequestError                   REQ-001     an HTTP request or tensor of the wrong form
      BundleError                      BUNDLE-001  not a bundle, or its manifest is malformed
        BundleSignatureError           BUNDLE-002  the signature is missing, wrong, or by an unknown key
        BundleFileError                BUNDLE-003  a file was changed, is missing, or is one too many
      ModelError                       MODEL-001   a model's files are missing or unreadable
        CheckpointError                MODEL-002   a checkpoint is hostile, incomplete, or does not fit its config
        TokenizerError                 MODEL-003   the vocabulary is missing or does not fit the model
      BackendError                     BACKEND-001 a backend failed
        BackendNotInstalledError       BACKEND-002 the backend's library is not installed
        BackendUnsupportedError        BACKEND-003 the backend cannot read this model's format
        ParityError                    BACKEND-004 outputs differ from the bundle's golden ones
        BackendMismatchError           BACKEND-005 the backend did not get the device that it names
      DeviceError                      DEVICE-001  the machine could not be examined
        ProfileError                   DEVICE-002  no such profile, or it is malformed
      CompressionError                 COMPRESS-001 compression could not run
        DataError                      COMPRESS-002 training or evaluation data cannot be used
        CalibrationError               COMPRESS-003 calibration data cannot be used
        AccuracyDropError              COMPRESS-004 no candidate passed the gate
        ArtifactError                  COMPRESS-005 the artifact's directory cannot be written
        TeacherError                   COMPRESS-006 the teacher does worse on dev than chance
      ServeError                       SERVE-001   the server could not start or is not ready
        OverloadedError                SERVE-002   as many requests wait as may wait
        DeadlineError                  SERVE-003   a request's time was up before its answer was ready
        ClientGoneError                SERVE-004   the client closed its connection before its answer was ready
      AccessError                      ACCESS-001  the file of tokens cannot be read or written, or a name does not fit
        ExposureError                  ACCESS-002  asked to serve other machines without a token or without TLS
        CertificateError               ACCESS-003  the TLS certificate or its key cannot be used
        TokenError                     ACCESS-004  a request carries no token that this device knows
        HostError                      ACCESS-005  a request was sent to a name that is not this server's
        OriginError                    ACCESS-006  a request was sent by a web page of another site
      PolicyError                      POLICY-001  a bank's policy is malformed or does not fit the models
      DownloadError                    FETCH-001   a pinned file could not be fetched or has another hash

Each carries three sentences and a code: what happened, what the device does now, what to do.
It lives in the lowest package because every package raises and none may import upwards (docs/adr/0003).
"""

from __future__ import annotations


class EdgeKitError(Exception):
    """Something that the kit refuses or cannot do.

    Root of the tree: catch this to catch everything that the kit raises on purpose.

    Args:
        problem: What happened, with the values seen. A full sentence.
        state: What the device or command does now. A full sentence.
        remedy: What the reader should do. A full sentence.
    """

    code = "KIT-001"
    exit_code = 1
    default_state = "Nothing was changed."
    default_remedy = "Run the command again; if it fails again, keep the message and report it with its code."

    def __init__(self, problem: str, *, state: str | None = None, remedy: str | None = None) -> None:
        self.problem = problem
        self.state = state or self.default_state
        self.remedy = remedy or self.default_remedy
        super().__init__(problem)

    def __str__(self) -> str:
        return f"{self.problem} {self.state} {self.remedy} [{self.code}]"

    def as_dict(self) -> dict[str, str]:
        """The four fields that JSON output and HTTP problems carry."""
        return {"code": self.code, "problem": self.problem, "state": self.state, "remedy": self.remedy}


class UsageError(EdgeKitError):
    """A command was called with wrong arguments."""

    code = "USAGE-001"
    exit_code = 2
    default_state = "Nothing was done."


class InputError(EdgeKitError):
    """What a caller handed in cannot be used."""

    code = "INPUT-001"
    exit_code = 3
    default_state = "Nothing was scored."
    default_remedy = "Correct the input and send it again."


class ImageError(InputError):
    """Not a picture, damaged, or too large."""

    code = "IMAGE-001"
    default_remedy = "Take the picture again or save it as JPEG or PNG, and send it again."


class PdfError(InputError):
    """Not a PDF, encrypted, or too long."""

    code = "PDF-001"
    default_remedy = "Save the document as a PDF without a password and send it again."


class TextError(InputError):
    """A text is empty or too long."""

    code = "TEXT-001"
    default_remedy = "Shorten or fill in the text and send it again."


class ApplicationError(InputError):
    """application.json is malformed, or names a file that is missing or outside its directory."""

    code = "APP-001"
    default_remedy = "Correct application.json and send the application again."


class RequestError(InputError):
    """An HTTP request or a tensor has the wrong form."""

    code = "REQ-001"
    default_remedy = "Correct the request and send it again; /openapi.json describes its form."


class BundleError(EdgeKitError):
    """Not a bundle, or its manifest is malformed."""

    code = "BUNDLE-001"
    exit_code = 4
    default_state = "Nothing was loaded."
    default_remedy = "Copy the bundle again from its source, then run 'edgekit bundle verify'."


class BundleSignatureError(BundleError):
    """The manifest's signature is missing, wrong, or by an unknown key."""

    code = "BUNDLE-002"


class BundleFileError(BundleError):
    """A file of the bundle was changed, is missing, or is one too many."""

    code = "BUNDLE-003"


class ModelError(EdgeKitError):
    """A model's files are missing or unreadable."""

    code = "MODEL-001"
    exit_code = 5
    default_state = "The model was not loaded."
    default_remedy = "Check the model directory and copy the model again."


class CheckpointError(ModelError):
    """A checkpoint is hostile, incomplete, or does not fit its config.json."""

    code = "MODEL-002"


class TokenizerError(ModelError):
    """The vocabulary is missing or does not fit the model."""

    code = "MODEL-003"


class BackendError(EdgeKitError):
    """A backend failed while loading or running a model."""

    code = "BACKEND-001"
    exit_code = 6
    default_state = "The model was not run."


class BackendNotInstalledError(BackendError):
    """The library behind a backend is not installed."""

    code = "BACKEND-002"


class BackendUnsupportedError(BackendError):
    """The backend cannot read this model's format."""

    code = "BACKEND-003"


class ParityError(BackendError):
    """On this device the outputs differ from the bundle's golden ones."""

    code = "BACKEND-004"


class BackendMismatchError(BackendError):
    """The backend did not get the device that it names, and would have run somewhere else."""

    code = "BACKEND-005"
    default_remedy = (
        "See with 'edgekit device probe' whether the GPU and its driver answer, or name a backend on the CPU."
    )


class DeviceError(EdgeKitError):
    """The machine could not be examined."""

    code = "DEVICE-001"
    exit_code = 7


class ProfileError(DeviceError):
    """There is no such profile, or it is malformed."""

    code = "DEVICE-002"


class CompressionError(EdgeKitError):
    """Compression could not run."""

    code = "COMPRESS-001"
    exit_code = 8
    default_state = "No artifact was written."


class DataError(CompressionError):
    """Training or evaluation data cannot be used."""

    code = "COMPRESS-002"
    default_remedy = "Correct the data file and run the command again."


class CalibrationError(CompressionError):
    """Calibration data cannot be used."""

    code = "COMPRESS-003"
    default_remedy = "Correct the calibration data and run the command again."


class AccuracyDropError(CompressionError):
    """No candidate passed the gate."""

    code = "COMPRESS-004"
    default_remedy = "Raise max_drop in the profile, or give more training and calibration data."


class ArtifactError(CompressionError):
    """The artifact's directory cannot be written: a full disk, no permission, or it holds something else."""

    code = "COMPRESS-005"
    default_remedy = "Name an empty or new directory on a disk with room, and run the command again."


class TeacherError(CompressionError):
    """On dev the teacher does worse than an answer that never looks at the text."""

    code = "COMPRESS-006"
    default_remedy = "Check that the labels in the data mean what the teacher's mean and stand in the same order."


class ServeError(EdgeKitError):
    """The server could not start or is not ready."""

    code = "SERVE-001"
    exit_code = 9
    default_state = "The server is not running."


class OverloadedError(ServeError):
    """As many requests wait as may wait."""

    code = "SERVE-002"
    default_state = "The request was refused before any work was done; the server goes on with the others."
    default_remedy = "Send it again after the seconds in Retry-After."


class DeadlineError(ServeError):
    """A request's time was up before its answer was ready."""

    code = "SERVE-003"
    default_state = "The request was given up; nothing of it was kept."
    default_remedy = "Send it again after the seconds in Retry-After, or with a longer X-Timeout-Ms."


class ClientGoneError(ServeError):
    """The client closed its connection before its answer was ready: nobody reads this, the log counts it."""

    code = "SERVE-004"
    default_state = "The request was given up; nothing of it was kept."
    default_remedy = "Nothing needs to be done."


class AccessError(EdgeKitError):
    """The file of tokens cannot be read or written, or a token's name does not fit."""

    code = "ACCESS-001"
    exit_code = 12


class ExposureError(AccessError):
    """The server was asked to serve other machines without a token or without TLS."""

    code = "ACCESS-002"
    default_state = "The server was not started."


class CertificateError(AccessError):
    """The TLS certificate or its key cannot be used."""

    code = "ACCESS-003"
    default_state = "The server was not started."
    default_remedy = "Give a certificate and its key in PEM form, the key without a password."


class TokenError(AccessError):
    """A request carries no token that this device knows."""

    code = "ACCESS-004"
    default_state = "The request was refused before it was looked at."
    default_remedy = "Send 'Authorization: Bearer TOKEN'; 'edgekit token add NAME' on the device makes one."


class HostError(AccessError):
    """A request was sent to a name that is not this server's."""

    code = "ACCESS-005"
    default_state = "The request was refused before it was looked at."


class OriginError(AccessError):
    """A request was sent by a web page of another site."""

    code = "ACCESS-006"
    default_state = "The request was refused before it was looked at."
    default_remedy = "Use the pages of this server, or a program that is not a web page."


class DownloadError(EdgeKitError):
    """A pinned file could not be fetched, or its hash is another one."""

    code = "FETCH-001"
    exit_code = 10


class PolicyError(EdgeKitError):
    """A bank's policy is missing, malformed, or does not fit the models."""

    code = "POLICY-001"
    exit_code = 11
    default_state = "Nothing was scored."
    default_remedy = "Correct the policy; examples/policy.toml explains every key."
