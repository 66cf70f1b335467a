"""Why a row or picture is left out: a closed list of reasons, with each case in words."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Reason", "Rejection"]


class Reason(StrEnum):
    """Everything that can keep a row out of a dataset, or a picture from being answered."""

    MALFORMED_ROW = "malformed_row"
    """The line of the table does not have the table's form."""
    MISSING_VALUE = "missing_value"
    """A field of the task has no value."""
    MALFORMED_VALUE = "malformed_value"
    """A field of the task has a value that is not of the field's type."""
    OTHER_CURRENCY = "other_currency"
    """A price is in another currency than the task's prices."""
    NO_PICTURE = "no_picture"
    """The row names no picture."""
    TOO_MANY_PICTURES = "too_many_pictures"
    """The picture is a further one of a row that has as many as are taken already."""
    MISSING_PICTURE = "missing_picture"
    """The row names a local file that is not there or cannot be read."""
    OUTSIDE_FOLDER = "outside_folder"
    """The row names a local file outside the folder that pictures may come from."""
    REFUSED_ADDRESS = "refused_address"
    """The URL is malformed, is not http(s), or leads to a private address."""
    UNREACHABLE = "unreachable"
    """The server's name or the server itself could not be reached, or broke the connection."""
    TIMED_OUT = "timed_out"
    """The download did not end in the time allowed."""
    HTTP_ERROR = "http_error"
    """The server answered with an error, or redirected too often."""
    OPTED_OUT = "opted_out"
    """The server asks that AI be not trained on the picture, and this is to be honoured."""
    EMPTY_FILE = "empty_file"
    """The picture has no bytes."""
    TOO_LARGE = "too_large"
    """The picture has more bytes than allowed."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The picture's header announces more pixels than allowed; nothing was decoded."""
    TOO_SMALL = "too_small"
    """The picture's smallest side is below the one allowed."""
    PLAIN_COLOUR = "plain_colour"
    """The picture is of one colour, as placeholders are."""
    HTML_PAGE = "html_page"
    """The bytes are an HTML page, whatever the name says."""
    NOT_A_PICTURE = "not_a_picture"
    """The bytes are of none of the picture formats that are read."""
    TRUNCATED = "truncated"
    """The bytes begin as a picture and cannot be decoded to its end."""
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    """The pixels are numbers whose range is not known, such as floating-point ones."""
    UNANSWERABLE = "unanswerable"
    """The picture can be read, and the model cannot answer it; of `loupe predict` alone."""


@dataclass(frozen=True)
class Rejection:
    """Why one row or picture was rejected: a reason of the closed list, and its case in words."""

    reason: Reason
    detail: str
