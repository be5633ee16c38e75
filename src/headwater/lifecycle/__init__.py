"""Events in and out of stores: import of event logs and tables, export, and verification of what is stored."""

from __future__ import annotations

from headwater.lifecycle.examining import examined
from headwater.lifecycle.exporting import export_events
from headwater.lifecycle.files import InvalidFile
from headwater.lifecycle.importing import ImportConflict, Imported, Progress, import_file
from headwater.lifecycle.mapping import Mapping
from headwater.lifecycle.opening import open_existing
from headwater.lifecycle.remains import Remain, remains
from headwater.lifecycle.verifying import Finding, Verified, verify

__all__ = [
    "Finding",
    "ImportConflict",
    "Imported",
    "InvalidFile",
    "Mapping",
    "Progress",
    "Remain",
    "Verified",
    "examined",
    "export_events",
    "import_file",
    "open_existing",
    "remains",
    "verify",
]
