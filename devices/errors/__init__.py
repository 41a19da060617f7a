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
        StoppedError                   OFFLINE-001 cut off for so long that the policy lets the device decide nothing
      AccessError                      ACCESS-001  the file of tokens cannot be read or written, or a name does not fit
        ExposureError                  ACCESS-002  asked to serve other machines without a token or without TLS
        CertificateError               ACCESS-003  the TLS certificate or its key cannot be used
        TokenError                     ACCESS-004  a request carries no token that this device knows
        HostError                      ACCESS-005  a request was sent to a name that is not this server's
        OriginError                    ACCESS-006  a request was sent by a web page of another site
        RoleError                      ACCESS-007  a request's token is not that of a reviewer
      ProvisionError                   PROVISION-001 the device could not be provisioned, or is not
        SwitchError                    PROVISION-002 the record of the slots is lost, or does not allow what was asked
        SlotError                      PROVISION-003 a file of a slot was changed, is missing, or is one too many
        LockedError                    PROVISION-004 another command is changing this device
        HealthError                    PROVISION-005 a release in trial does not do what it has to do
        MediumError                    PROVISION-010 no medium, or it cannot be read
          MediumDamagedError           PROVISION-011 a file of a medium is not as it was packed
          MediumMismatchError          PROVISION-012 a medium for another kind of device
        SpaceError                     PROVISION-013 too little disk for two slots and a download
        RootNotWritableError           PROVISION-014 the device's directory cannot be written
        EnvironmentFailedError         PROVISION-015 the Python environment of a slot could not be made
        PackError                      PROVISION-016 a medium, or the wheels for it, cannot be made
        InventoryError                 PROVISION-017 an inventory report is malformed or its signature does not fit
      PolicyError                      POLICY-001  a bank's policy is malformed or does not fit the models
      DownloadError                    FETCH-001   a pinned file could not be fetched or has another hash
      UpdateError                      UPDATE-001  the source of updates cannot be read, or has nothing for this device
        UpdateRollbackError            UPDATE-002  older than what this device has seen
        UpdateFreezeError              UPDATE-003  past its date, and the grace period is over
        UpdateMixError                 UPDATE-004  signed parts that do not belong together
        UpdateSignerError              UPDATE-005  no signature by a trusted key
        UpdateThresholdError           UPDATE-006  fewer signatures than must be
        UpdateEndlessError             UPDATE-007  more bytes than were signed
        UpdateSlowError                UPDATE-008  nothing or next to nothing arrives
        UpdateContentError             UPDATE-009  a damaged file; the message names it
        UpdateTrustError               UPDATE-010  the device's trust root is missing, damaged, or another one
      JournalError                     JOURNAL-001 the journal cannot be read or written
        JournalDamagedError            JOURNAL-002 the journal was changed, cut or damaged; the first bad entry is named
        JournalFullError               JOURNAL-003 the disk, or the journal's share of it, is full
        DeviceKeyError                 JOURNAL-004 the device key is lost, or not the one that wrote the journal
        DecisionNotFoundError          JOURNAL-005 no such decision or entry in this journal
        RecordErasedError              JOURNAL-006 personal data that were erased or retired
      ReviewError                      REVIEW-001  a verdict that this person may not give, or not any more
      ReplayError                      REPLAY-001  a decision that cannot be scored again on this machine
      SyncError                        SYNC-001    headquarters cannot be reached, or does not answer as it should
        SyncRefusedError               SYNC-002    headquarters refuses this device, or what it sends
          SyncUnregisteredError        SYNC-006    headquarters' register lacks this device, or has retired it
        AcknowledgementError           SYNC-003    an answer that is not headquarters', old, or for what was not sent
        SyncCertificateError           SYNC-004    a certificate on the way to headquarters has ended or is not trusted
        SyncSettingsError              SYNC-005    where headquarters is, or its keys, is not said or not readable
        SyncQuotaError                 SYNC-007    headquarters has no room for what this device sends
      CollectorError                   COLLECTOR-001 headquarters' collector cannot be made or used
        MessageError                   COLLECTOR-002 what a device sent is no message, or its signature does not fit
        RegisterError                  COLLECTOR-003 a device that is unknown, retired, or has another certificate
        QuotaError                     COLLECTOR-004 a device sends more than one device may
        CollectorFullError             COLLECTOR-005 the collector's share of its disk is full
      RepositoryError                  REPO-001    the update repository cannot be made or changed as asked
        SigningError                   REPO-002    a signing key is missing or cannot be used

Each carries three sentences and a code: what happened, what the device does now, what to do.
It lives in the lowest package because every package raises and none may import upwards (docs/adr/0003).
This file draws the tree and says where each class is to be imported from, ``devices.errors``; the classes stand in the
modules beside it, by the part of the kit that raises them.
"""

from __future__ import annotations

from devices.errors.compression import (
    AccuracyDropError,
    ArtifactError,
    CalibrationError,
    CompressionError,
    DataError,
    TeacherError,
)
from devices.errors.inputs import (
    ApplicationError,
    ImageError,
    InputError,
    PdfError,
    RequestError,
    TextError,
)
from devices.errors.journal import (
    DecisionNotFoundError,
    DeviceKeyError,
    JournalDamagedError,
    JournalError,
    JournalFullError,
    RecordErasedError,
)
from devices.errors.machine import (
    DeviceError,
    ProfileError,
)
from devices.errors.medium import (
    EnvironmentFailedError,
    InventoryError,
    MediumDamagedError,
    MediumError,
    MediumMismatchError,
    PackError,
    RootNotWritableError,
    SpaceError,
)
from devices.errors.models import (
    BackendError,
    BackendMismatchError,
    BackendNotInstalledError,
    BackendUnsupportedError,
    BundleError,
    BundleFileError,
    BundleSignatureError,
    CheckpointError,
    ModelError,
    ParityError,
    TokenizerError,
)
from devices.errors.offline import (
    ReplayError,
    ReviewError,
    RoleError,
    StoppedError,
)
from devices.errors.provision import (
    HealthError,
    LockedError,
    ProvisionError,
    SlotError,
    SwitchError,
)
from devices.errors.root import (
    DownloadError,
    EdgeKitError,
    PolicyError,
    UsageError,
)
from devices.errors.serving import (
    AccessError,
    CertificateError,
    ClientGoneError,
    DeadlineError,
    ExposureError,
    HostError,
    OriginError,
    OverloadedError,
    ServeError,
    TokenError,
)
from devices.errors.sync import (
    AcknowledgementError,
    CollectorError,
    CollectorFullError,
    MessageError,
    QuotaError,
    RegisterError,
    SyncCertificateError,
    SyncError,
    SyncQuotaError,
    SyncRefusedError,
    SyncSettingsError,
    SyncUnregisteredError,
)
from devices.errors.update import (
    RepositoryError,
    SigningError,
    UpdateContentError,
    UpdateEndlessError,
    UpdateError,
    UpdateFreezeError,
    UpdateMixError,
    UpdateRollbackError,
    UpdateSignerError,
    UpdateSlowError,
    UpdateThresholdError,
    UpdateTrustError,
)

__all__ = [
    "AccessError",
    "AccuracyDropError",
    "AcknowledgementError",
    "ApplicationError",
    "ArtifactError",
    "BackendError",
    "BackendMismatchError",
    "BackendNotInstalledError",
    "BackendUnsupportedError",
    "BundleError",
    "BundleFileError",
    "BundleSignatureError",
    "CalibrationError",
    "CertificateError",
    "CheckpointError",
    "ClientGoneError",
    "CollectorError",
    "CollectorFullError",
    "CompressionError",
    "DataError",
    "DeadlineError",
    "DecisionNotFoundError",
    "DeviceError",
    "DeviceKeyError",
    "DownloadError",
    "EdgeKitError",
    "EnvironmentFailedError",
    "ExposureError",
    "HealthError",
    "HostError",
    "ImageError",
    "InputError",
    "InventoryError",
    "JournalDamagedError",
    "JournalError",
    "JournalFullError",
    "LockedError",
    "MediumDamagedError",
    "MediumError",
    "MediumMismatchError",
    "MessageError",
    "ModelError",
    "OriginError",
    "OverloadedError",
    "PackError",
    "ParityError",
    "PdfError",
    "PolicyError",
    "ProfileError",
    "ProvisionError",
    "QuotaError",
    "RecordErasedError",
    "RegisterError",
    "RepositoryError",
    "ReplayError",
    "RequestError",
    "ReviewError",
    "RoleError",
    "RootNotWritableError",
    "ServeError",
    "SigningError",
    "SlotError",
    "SpaceError",
    "StoppedError",
    "SwitchError",
    "SyncCertificateError",
    "SyncError",
    "SyncQuotaError",
    "SyncRefusedError",
    "SyncSettingsError",
    "SyncUnregisteredError",
    "TeacherError",
    "TextError",
    "TokenError",
    "TokenizerError",
    "UpdateContentError",
    "UpdateEndlessError",
    "UpdateError",
    "UpdateFreezeError",
    "UpdateMixError",
    "UpdateRollbackError",
    "UpdateSignerError",
    "UpdateSlowError",
    "UpdateThresholdError",
    "UpdateTrustError",
    "UsageError",
]
