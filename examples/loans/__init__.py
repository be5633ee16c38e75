"""A bank's loan applications, from the request to the payout: an event-sourced application in seven short files.

Read them in this order:

1. ``events``: what can happen.
2. ``rules``: what a command leads to, and what an event changes. No input or output here.
3. ``desk``: commands on the store; and a rule over many applications.
4. ``overview``: a read model in SQL.
5. ``payouts``: what follows from an approval, in the world outside.
6. ``history``: a real log of a bank, as commands.
7. ``__main__``: all of it together: ``python -m examples.loans``.

Their tests: ``tests/acceptance/test_examples_loans.py``.
"""
