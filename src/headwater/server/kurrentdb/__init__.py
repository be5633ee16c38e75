"""KurrentDB's protocol: its gRPC services, answered from any store."""
