"""Rules that belong to no single stream: the examples of https://dcb.events/examples, one file each.

``courses``, ``usernames``, ``invoices``, ``opt_in``, ``prices``, ``duplicates``. Run them from a checkout:
``python -m examples.boundaries.courses``. Each is shown with two at once by
``tests/acceptance/test_examples_boundaries.py``.
"""


class Refused(Exception):
    """A rule forbids it; the text says why."""
