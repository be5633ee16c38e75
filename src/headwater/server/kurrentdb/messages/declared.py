"""Definitions that the Python client does not carry: what a server offers, its operations, statistics and health.

Written from the definitions published with the other clients (Apache-2.0), as tables: a message is a list of fields,
a field its number, name and type. A type with a star is repeated; one with a capital letter is a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

__all__ = ["declared_files"]

_SHARED = "kurrentdbclient/protos/v1/shared.proto"
_EMPTY = "event_store.client.Empty"

_TYPES = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
    "enum": FieldDescriptorProto.TYPE_INT32,  # its numbers are all that is needed, and the same on the wire
}

Fields = Sequence[tuple[int, str, str]]

_MESSAGES: dict[str, Mapping[str, Fields]] = {
    "event_store.client.server_features": {
        "SupportedMethods": [(1, "methods", "SupportedMethod*"), (2, "event_store_server_version", "string")],
        "SupportedMethod": [(1, "method_name", "string"), (2, "service_name", "string"), (3, "features", "string*")],
    },
    "event_store.client.operations": {
        "SetNodePriorityReq": [(1, "priority", "int32")],
        "ScavengeResp": [(1, "scavenge_id", "string"), (2, "scavenge_result", "enum")],
        "StartScavengeReq": [(1, "options", "StartScavengeOptions")],
        "StartScavengeOptions": [(1, "thread_count", "int32"), (2, "start_from_chunk", "int32")],
        "StopScavengeReq": [(1, "options", "StopScavengeOptions")],
        "StopScavengeOptions": [(1, "scavenge_id", "string")],
    },
    "event_store.client.monitoring": {
        "StatsReq": [(1, "use_metadata", "bool"), (4, "refresh_time_period_in_ms", "uint64")],
        "StatsResp": [(1, "stats", "StatsEntry*")],
        "StatsEntry": [(1, "key", "string"), (2, "value", "string")],
    },
    "grpc.health.v1": {
        "HealthCheckRequest": [(1, "service", "string")],
        "HealthCheckResponse": [(1, "status", "enum")],
    },
}

_SERVICES: dict[str, tuple[str, Sequence[tuple[str, str, str, bool]]]] = {
    "event_store.client.server_features": (
        "ServerFeatures",
        [("GetSupportedMethods", _EMPTY, "SupportedMethods", False)],
    ),
    "event_store.client.operations": (
        "Operations",
        [
            ("StartScavenge", "StartScavengeReq", "ScavengeResp", False),
            ("StopScavenge", "StopScavengeReq", "ScavengeResp", False),
            ("Shutdown", _EMPTY, _EMPTY, False),
            ("MergeIndexes", _EMPTY, _EMPTY, False),
            ("ResignNode", _EMPTY, _EMPTY, False),
            ("SetNodePriority", "SetNodePriorityReq", _EMPTY, False),
            ("RestartPersistentSubscriptions", _EMPTY, _EMPTY, False),
        ],
    ),
    "event_store.client.monitoring": ("Monitoring", [("Stats", "StatsReq", "StatsResp", True)]),
    "grpc.health.v1": (
        "Health",
        [
            ("Check", "HealthCheckRequest", "HealthCheckResponse", False),
            ("Watch", "HealthCheckRequest", "HealthCheckResponse", True),
        ],
    ),
}
"""Package → its service, and the methods: name, request, response, whether responses are streamed."""


def declared_files() -> Iterator[bytes]:
    """The files of definitions, one a package, serialized."""
    for package, messages in _MESSAGES.items():
        file = FileDescriptorProto(
            name=f"headwater/{package}.proto", package=package, syntax="proto3", dependency=[_SHARED]
        )
        for name, fields in messages.items():
            file.message_type.append(_message(package, name, fields))
        service, methods = _SERVICES[package]
        declared = file.service.add(name=service)
        for name, request, response, streams in methods:
            declared.method.add(
                name=name,
                input_type=_full(package, request),
                output_type=_full(package, response),
                server_streaming=streams,
            )
        yield file.SerializeToString()


def _message(package: str, name: str, fields: Fields) -> DescriptorProto:
    message = DescriptorProto(name=name)
    for number, field, kind in fields:
        plain = kind.rstrip("*")
        declared = message.field.add(name=field, number=number)
        declared.label = FieldDescriptorProto.LABEL_REPEATED if plain != kind else FieldDescriptorProto.LABEL_OPTIONAL
        declared.type = _TYPES.get(plain, FieldDescriptorProto.TYPE_MESSAGE)
        if plain not in _TYPES:
            declared.type_name = _full(package, plain)
    return message


def _full(package: str, name: str) -> str:
    return "." + (name if "." in name else f"{package}.{name}")
