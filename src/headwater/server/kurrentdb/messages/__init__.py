"""The messages of KurrentDB's protocol, as classes: ``message("event_store.client.streams.ReadResp")``.

They live in a descriptor pool of our own. So the Python client, or anybody's own generated code for the same
protocol, can be imported into the same process: protobuf's one default pool takes each name once only.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from headwater.server.kurrentdb.messages.declared import declared_files

__all__ = ["message", "service_methods"]

_PUBLISHED = (
    "google.protobuf.any_pb2",
    "google.protobuf.descriptor_pb2",
    "google.protobuf.duration_pb2",
    "google.protobuf.empty_pb2",
    "google.protobuf.struct_pb2",
    "google.protobuf.timestamp_pb2",
    "google.rpc.status_pb2",
    "kurrentdbclient.protos.google.rpc.code_pb2",
    "kurrentdbclient.protos.v1.shared_pb2",
    "kurrentdbclient.protos.v1.status_pb2",
    "kurrentdbclient.protos.v1.streams_pb2",
    "kurrentdbclient.protos.v1.gossip_pb2",
    "kurrentdbclient.protos.v1.persistent_pb2",
    "kurrentdbclient.protos.v1.projections_pb2",
    "kurrentdbclient.protos.kurrent.rpc.rpc_pb2",
    "kurrentdbclient.protos.v2.streams.streams_pb2",
    "kurrentdbclient.protos.v2.streams.errors_pb2",
)
"""The modules whose compiled definitions are taken, each after those that it stands on."""


@functools.cache
def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for name in _PUBLISHED:
        pool.AddSerializedFile(import_module(name).DESCRIPTOR.serialized_pb)
    for file in declared_files():
        pool.Add(FileDescriptorProto.FromString(file))
    return pool


@functools.cache
def message(name: str) -> Any:
    """The class of the message with this full name."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def service_methods(service: str) -> list[Any]:
    """The descriptors of the methods of a service, by its full name."""
    return list(_pool().FindServiceByName(service).methods)
