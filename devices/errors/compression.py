"""Compression and its data."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


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
