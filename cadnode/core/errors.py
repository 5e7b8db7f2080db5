"""Every error this node raises on purpose, with a code an operator can look up.

The codes stand in `docs/operations.md` with what to do; a test compares the two. A code is never
used twice: a retired one stays here as a comment.

    CadnodeError
    ├── ConfigError             E101  the settings do not hold together
    │   └── TlsUnusable         E102  our certificate, its key or the CA does not serve
    ├── PortTaken               E103  the console cannot listen on its port
    ├── ReceiveError
    │   ├── SpoolFull           E201  no room to keep another image
    │   ├── InstanceConflict    E202  other bytes under a SOP Instance UID that is already kept
    │   ├── UnreadableObject    E203  the identifiers of a received object cannot be read
    │   ├── NotFetched          E204  a source did not hand over an image that was asked of it
    │   ├── TooManyMatches      E205  a source has more exams that match than are taken at once
    │   └── NothingToPurge      E206  the disk fills up and no exam may be purged
    ├── ImageFailed             E301  one image cannot be analyzed (carries its Reason)
    ├── ImageUnreachable        E302  a stored image cannot be read at the moment
    ├── ModelUnfit              E401  the model bundle is missing, altered or wrong
    ├── ResultInvalid           E501  a result object broke one of our own invariants
    ├── DeliveryError
    │   ├── Unreachable         E601  no association with the destination or source
    │   ├── Refused             E602  the destination refused an object, or the source a request
    │   ├── OutOfPatience       E603  transient trouble outlasted the give-up time
    │   └── Unproved            E604  a destination does not prove that it holds what it stored
    ├── StoreError
    │   ├── IllegalMove         E701  the exam is not in the status the move starts from
    │   ├── LeaseLost           E702  somebody else holds the exam by now
    │   ├── NotFound            E703  no such exam, image or result
    │   ├── DatabaseUnavailable E704  the database cannot be reached or is locked
    │   └── StaleExam           E705  an image arrived while the exam was being closed
    ├── OutOfTries              E801  a step ended badly too many times
    ├── AccessError
    │   ├── NotSignedIn         E901  the console does not know who is asking
    │   ├── NotAllowed          E902  whoever asks may not do this
    │   ├── SignInRefused       E903  this name with this password is not let in
    │   ├── TooManyAttempts     E904  too many sign-ins have failed; this one has to wait
    │   ├── AccountRefused      E905  an account or a token cannot be made or changed in this way
    │   └── ProviderFailed      E906  the identity provider does not answer, or not as it should
    ├── NoticeNotSent           E911  a message to persons did not go out
    └── BrokerUnavailable       E921  the message broker cannot be reached

`retry` says whether the same step may succeed later without anybody changing anything.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import ClassVar

from cadnode.core.reasons import Reason


class CadnodeError(Exception):
    """Base of every error this node raises on purpose.

    The message names UIDs, numbers and settings, never a patient.
    """

    code: ClassVar[str] = "E000"
    retry: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"{self.code} {super().__str__()}"

    @property
    def detail(self) -> str:
        """The message without its code."""
        return super().__str__()


class ConfigError(CadnodeError):
    """The settings do not hold together; the message names the key and what is allowed."""

    code = "E101"


class TlsUnusable(ConfigError):
    """Our certificate, its key or the CA does not serve; the message names the file."""

    code = "E102"


class PortTaken(CadnodeError):
    """The console cannot listen on its port; receiving and analysis do not need it."""

    code = "E103"
    retry = True


class ReceiveError(CadnodeError):
    """A received object could not be kept; the sender gets a failure status."""


class SpoolFull(ReceiveError):
    """No room to keep another image; the sender gets 0xA700 and tries again."""

    code = "E201"
    retry = True


class InstanceConflict(ReceiveError):
    """Other bytes arrived under a SOP Instance UID that is already kept."""

    code = "E202"


class UnreadableObject(ReceiveError):
    """The identifiers of a received object cannot be read."""

    code = "E203"


class NotFetched(ReceiveError):
    """A source did not hand over an image that was asked of it, or it could not be kept."""

    code = "E204"
    retry = True


class TooManyMatches(ReceiveError):
    """A source has more exams that match than are taken at once; the query is too wide."""

    code = "E205"


class NothingToPurge(ReceiveError):
    """The disk is above its high-water mark, or the spool above its limit, and no exam may be
    purged; receiving stops when the disk is full."""

    code = "E206"
    retry = True


class ImageFailed(CadnodeError):
    """One image cannot be analyzed; the other images of its exam go on."""

    code = "E301"

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.code} {reason.text}" + (f": {detail}" if detail else ""))
        self.reason = reason


class ImageUnreachable(CadnodeError):
    """The system refuses to read a stored file: the disk, not the image, is in trouble."""

    code = "E302"
    retry = True


class ModelUnfit(CadnodeError):
    """The model bundle is missing, altered or wrong; exams wait until it is mended."""

    code = "E401"
    retry = True


class ResultInvalid(CadnodeError):
    """A result object broke one of our own invariants and was not written."""

    code = "E501"


class DeliveryError(CadnodeError):
    """A result object did not reach a destination."""


class Unreachable(DeliveryError):
    """No association with the destination or source."""

    code = "E601"
    retry = True


class Refused(DeliveryError):
    """The destination refused an object for good, or the source a request."""

    code = "E602"


class OutOfPatience(DeliveryError):
    """Transient trouble with a destination outlasted the give-up time."""

    code = "E603"


class Unproved(DeliveryError):
    """A destination does not prove that it holds what it stored."""

    code = "E604"


class StoreError(CadnodeError):
    """The job database refused."""


class IllegalMove(StoreError):
    """The exam is not in the status the move starts from."""

    code = "E701"


class LeaseLost(StoreError):
    """The lease ended and somebody else may hold the work by now."""

    code = "E702"
    retry = True


class NotFound(StoreError):
    """No such exam, image or result."""

    code = "E703"


class DatabaseUnavailable(StoreError):
    """The database cannot be reached, is locked, or has another schema version."""

    code = "E704"
    retry = True


class StaleExam(StoreError):
    """An image arrived while the exam was being closed; look again."""

    code = "E705"
    retry = True


class OutOfTries(CadnodeError):
    """A step ended badly too many times, or took its worker down each time."""

    code = "E801"


class AccessError(CadnodeError):
    """Somebody is not let into the console, or not this far."""


class NotSignedIn(AccessError):
    """The console does not know who is asking."""

    code = "E901"


class NotAllowed(AccessError):
    """Whoever asks may not do this, or not from where the request came."""

    code = "E902"


class SignInRefused(AccessError):
    """This name with this password is not let in; nothing says which of the two is wrong."""

    code = "E903"


class TooManyAttempts(AccessError):
    """Too many sign-ins have failed under this name or from this address."""

    code = "E904"
    retry = True

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"too many sign-ins have failed; try again in {wait_seconds} s")
        self.wait_seconds = wait_seconds


class AccountRefused(AccessError):
    """An account or a token cannot be made or changed in this way; the message says why."""

    code = "E905"


class ProviderFailed(AccessError):
    """The identity provider does not answer, or not as OpenID Connect has it."""

    code = "E906"
    retry = True


class NoticeNotSent(CadnodeError):
    """A message to persons did not go out; `final` when the same one never will."""

    code = "E911"
    retry = True

    def __init__(self, detail: str, *, final: bool = False) -> None:
        super().__init__(detail)
        self.final = final


class BrokerUnavailable(CadnodeError):
    """The message broker cannot be reached; workers look into the database by themselves."""

    code = "E921"
    retry = True


def meaning_of(code: str) -> str:
    """One sentence about the errors with this code."""
    classes = [CadnodeError]
    for found in classes:
        classes.extend(found.__subclasses__())
        if found.code == code and code != CadnodeError.code:
            return " ".join((found.__doc__ or "").split(".")[0].split(";")[0].split()) + "."
    return "Something nobody planned for went wrong."


def unexpected(error: BaseException) -> str:
    """The kind of an error nobody planned for, and where it came from.

    Its message stays out: it may hold anything, patient data too.
    """
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
    return f"unexpected {type(error).__name__} at {where}"
