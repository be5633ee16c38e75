"""The bank's desk of ``examples.loans`` in Django: rows and events in one PostgreSQL, and in one transaction.

    pip install 'headwater[postgres]' django
    export DJANGO_SETTINGS_MODULE=examples.django_service.settings DATABASE_URL=postgresql://app@localhost/bank
    django-admin migrate --run-syncdb --pythonpath . && django-admin runserver --pythonpath .

``store`` opens the store in each process and executes commands in Django's transaction; ``views`` are two views;
``middleware`` gives events the request's id, and errors their status; ``models`` is a table of Django's own.
"""
