"""Where the views are."""

from __future__ import annotations

from django.urls import path

from examples.django_service.views import request_loan, show_loan

urlpatterns = [path("loans/<str:loan>", show_loan), path("loans/<str:loan>/request", request_loan)]
