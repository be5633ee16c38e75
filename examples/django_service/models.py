"""A table of Django's own: whom to call about a loan. What happens to the loan is in the log."""

from __future__ import annotations

from django.db import models


class Contact(models.Model):
    loan = models.CharField(max_length=40, primary_key=True)
    phone = models.CharField(max_length=20)
