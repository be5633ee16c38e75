"""Two views: one changes Django's tables and the log together, one reads both."""

from __future__ import annotations

import json

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from examples.django_service.models import Contact
from examples.django_service.store import execute, load
from examples.loans.rules import Request


@require_POST
def request_loan(request: HttpRequest, loan: str) -> HttpResponse:
    """The event and the row: both, or neither."""
    asked = json.loads(request.body)
    with transaction.atomic():
        done = execute(f"loan-{loan}", Request(asked["amount"]))
        Contact.objects.create(loan=loan, phone=asked["phone"])
    assert done is not None  # a request always leads to an event, or is refused
    return JsonResponse({"position": done.position}, status=201)


@require_GET
def show_loan(request: HttpRequest, loan: str) -> HttpResponse:
    """Whom to call, and where the application is."""
    contact = get_object_or_404(Contact, loan=loan)
    state = load(f"loan-{loan}").state
    return JsonResponse({"phone": contact.phone, "stage": state.stage, "amount": state.amount})
