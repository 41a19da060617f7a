"""What a caller hands in and the kit cannot use."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


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
