"""Around every request: its id for the events, and a status for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

import headwater as hw
from examples.loans.rules import Refused


class Bank:
    """Django middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with hw.trace(correlation_id=request.headers.get("X-Request-ID") or str(hw.uuid7())):
            return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A rule said no, or somebody else was faster: 409. Send it again: 503. By now, Django has rolled back."""
        if isinstance(error, (Refused, hw.AppendRefused)):
            return JsonResponse({"detail": str(error)}, status=409)
        if isinstance(error, (hw.StoreUnavailable, hw.OutcomeUnknown)):
            return JsonResponse({"detail": str(error)}, status=503, headers={"Retry-After": "1"})
        return None
