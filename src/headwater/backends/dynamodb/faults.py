"""What DynamoDB and its client say when something fails, in our words. No message holds a credential."""

from __future__ import annotations

from collections.abc import Sequence

from botocore import exceptions

from headwater.backends.dynamodb.requests import Reason
from headwater.backends.dynamodb.url import Target
from headwater.errors import HeadwaterError, StoreUnavailable

__all__ = ["Lost", "Overlapped", "Refused", "code_of", "translated"]


class Refused(Exception):
    """A transaction or a single write was not done, because of what is there. ``reasons``: one for each action."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        super().__init__(", ".join(reason.code for reason in reasons))
        self.reasons = reasons

    @property
    def failed(self) -> list[int]:
        """The numbers of the actions whose condition did not hold."""
        return [number for number, reason in enumerate(self.reasons) if reason.code == "ConditionalCheckFailed"]


class Overlapped(Exception):
    """A transaction was not done, because others of the same items were under way, time after time.

    ``numbers`` of the actions that they overlapped in; empty where DynamoDB did not say.
    """

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        super().__init__(f"transactions overlapped in actions {list(numbers)}")
        self.numbers = numbers


class Lost(Exception):
    """The answer to a write did not come: whether it was done is not known."""


_REMEDIES: dict[str, tuple[str, bool]] = {
    "ResourceNotFoundException": ("Is the table there, and does the URL name its region? create=no makes none.", False),
    "AccessDeniedException": ("Give the role the rights that docs/how-to/dynamodb.md lists.", False),
    "UnrecognizedClientException": ("Check the credentials (environment, profile or role).", False),
    "InvalidSignatureException": ("Check the secret key, and this machine's clock.", False),
    "IncompleteSignatureException": ("Check the credentials (environment, profile or role).", False),
    "MissingAuthenticationTokenException": ("Check the credentials (environment, profile or role).", False),
    "ExpiredTokenException": ("Log in again: the session's credentials have expired.", False),
    "ProvisionedThroughputExceededException": ("Raise the table's capacity, or make it on-demand.", True),
    "ProvisionedThroughputExceeded": ("Raise the table's capacity, or make it on-demand.", True),
    "ThrottlingException": ("Write less, or wait until DynamoDB has adapted.", True),
    "ThrottlingError": ("Write less, or wait until DynamoDB has adapted.", True),
    "RequestLimitExceeded": ("Ask AWS for a higher limit of the account.", True),
    "InternalServerError": ("Try again.", True),
    "ServiceUnavailable": ("Try again.", True),
    "ValidationException": ("Was the table made by something else? It needs the keys p and k, both texts.", False),
}

THROTTLED = {
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "ThrottlingError",
    "ThrottlingException",
    "RequestLimitExceeded",
}
"""Codes of too much at a time."""


def code_of(error: Exception) -> str:
    """The service's code of an error; '' where it comes from elsewhere."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, exceptions.ClientError) else ""


def translated(error: Exception, target: Target) -> HeadwaterError:
    """Our error for the client's."""
    if isinstance(error, HeadwaterError):
        return error
    if isinstance(error, (Overlapped, Lost)):
        return StoreUnavailable(f"{target.shown}: {error}", "Try again.")
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return StoreUnavailable(
            f"{target.shown}: no AWS credentials were found",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile= in the URL, or run under a role.",
            transient=False,
        )
    if isinstance(error, exceptions.NoRegionError):
        return StoreUnavailable(
            f"{target.shown}: no region", "Give the URL region=eu-central-1, or set AWS_REGION.", transient=False
        )
    code = code_of(error)
    remedy, transient = _REMEDIES.get(
        code, ("Is the service reached from here, and does the URL name it rightly?", True)
    )
    return StoreUnavailable(f"{target.shown}: {_said(error, code)}", remedy, transient=transient)


def _said(error: Exception, code: str) -> str:
    if code and isinstance(error, exceptions.ClientError):
        return f"{error.response.get('Error', {}).get('Message', '')} ({code})".strip()
    return " ".join(str(error).split()) or type(error).__name__
