"""Bundles, models, and the backends that run them."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


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
