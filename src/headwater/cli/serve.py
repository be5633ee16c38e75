"""``headwater serve``: the store, for KurrentDB's clients."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.arguments import Store
from headwater.cli.terminal import on_interrupt, say

__all__ = ["serve"]


async def serve(
    url: Store,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 2113,
    certificate: Annotated[
        Path | None, typer.Option("--tls-cert", help="The certificate with its chain, a PEM file.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key, a PEM file.")] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            "--users", help="A file of name:password or name:password:groups lines; without it, anybody may connect."
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen without TLS where other machines can connect.")
    ] = False,
    advertise: Annotated[
        str | None, typer.Option("--advertise", help="host:port as clients reach it, for discovery.")
    ] = None,
    health_port: Annotated[
        int | None, typer.Option("--health-port", min=0, max=65535, help="Answer /health/live there, over HTTP.")
    ] = None,
    vault: Annotated[str | None, typer.Option("--vault", help="The store of keys for personal data.")] = None,
) -> None:
    """Answer KurrentDB's clients from this store, until Ctrl-C or SIGTERM.

    Clients connect with the line that is printed. Without a certificate it listens on this machine only.

    Examples:

    * `headwater serve sqlite:///loans.db`
    * `headwater serve memory:` (a KurrentDB for tests)
    * `headwater serve postgresql://db/loans --host 0.0.0.0 --tls-cert server.pem --tls-key server.key --users users`
    """
    from headwater.connect import connect, loaded

    server = loaded("headwater.server:KurrentServer")
    limits = loaded("headwater.server:SERVER_LIMITS")
    settings = loaded("headwater.server:Settings")(
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        users=users,
        insecure=insecure,
        advertise=advertise,
        health_port=health_port,
    )
    stop = asyncio.Event()
    on_interrupt(stop.set)
    async with connect(url, limits=limits, vault=vault) as store, server(store, settings) as serving:
        print(serving.url, flush=True)
        if serving.health is not None:
            print(f"http://{host}:{serving.health.port}/health/live", flush=True)
        say("listening; Ctrl-C ends it")
        await stop.wait()
        say("stopping")
