"""libpq 18, below psycopg 3: direct TLS, protocol 3.2, long cancel keys, channel binding."""

import threading

import psycopg
from psycopg import errors


def check(condition, what):
    if not condition:
        raise SystemExit(f"libpq: {what}")


check(psycopg.pq.version() >= 180000, f"version {psycopg.pq.version()} is too old")
for negotiation in ("postgres", "direct"):
    for protocol, options in [
        (30000, {"max_protocol_version": "3.0"}),
        (30002, {"max_protocol_version": "latest"}),
        (30002, {"min_protocol_version": "3.2", "max_protocol_version": "3.2"}),
    ]:
        what = f"{negotiation} {options}"
        with psycopg.connect("", sslnegotiation=negotiation, channel_binding="require", autocommit=True,
                             **options) as conn:
            check(conn.pgconn.ssl_in_use, f"{what}: no TLS")
            check(conn.pgconn.full_protocol_version == protocol, f"{what}: {conn.pgconn.full_protocol_version}")
            check(conn.execute("SELECT 1").fetchone() == (1,), f"{what}: no answer")
            threading.Timer(0.2, conn.cancel_safe).start()
            try:
                conn.execute("SELECT pg_sleep(30)")
                check(False, f"{what}: not cancelled")
            except errors.QueryCanceled:
                pass
            with conn.pipeline():
                rows = [conn.execute("SELECT %s::int", [n]) for n in range(20)]
                check([row.fetchone() for row in rows] == [(n,) for n in range(20)], f"{what}: a pipeline")
# A version that nobody speaks is negotiated down: libpq asks for 3.9999 as grease.
with psycopg.connect("", max_protocol_version="latest", min_protocol_version="3.0") as conn:
    check(conn.execute("SELECT 1").fetchone() == (1,), "negotiated")
print("fine")
