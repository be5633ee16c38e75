"""Settings, as short as they can be: one database for Django and for Headwater, each with its own tables."""

from __future__ import annotations

import os

from psycopg.conninfo import conninfo_to_dict

DATABASE_URL = os.environ["DATABASE_URL"]
HEADWATER_URL = DATABASE_URL + ("&" if "?" in DATABASE_URL else "?") + "schema=loans_log"
HEADWATER_URL = os.environ.get("HEADWATER_URL", HEADWATER_URL)

_parts = conninfo_to_dict(DATABASE_URL)

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",  # with psycopg 3
        "NAME": _parts.get("dbname", ""),
        "USER": _parts.get("user", ""),
        "PASSWORD": _parts.get("password", ""),
        "HOST": _parts.get("host", ""),
        "PORT": _parts.get("port", ""),
        "OPTIONS": {"options": _parts.get("options", "")},
    }
}
INSTALLED_APPS = ["examples.django_service"]
MIDDLEWARE = ["examples.django_service.middleware.Bank"]
ROOT_URLCONF = "examples.django_service.urls"
SECRET_KEY = os.environ.get("SECRET_KEY", "for a try-out only")
ALLOWED_HOSTS = ["localhost", "testserver"]
USE_TZ = True
TIME_ZONE = "UTC"
