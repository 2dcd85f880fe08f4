"""asyncpg: binary everywhere, prepared statements without being asked, a pool that resets."""

import asyncio
import datetime
import io

import asyncpg


def check(condition, what):
    if not condition:
        raise SystemExit(f"asyncpg: {what}")


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


async def prepared_statements():
    conns = [await asyncpg.connect() for _ in range(6)]
    for round in range(10):
        for number, conn in enumerate(conns, 1):
            equal(await conn.fetchval("SELECT name FROM users WHERE id = $1", number), f"user {number}", "one text")
            equal(await conn.fetchval(f"SELECT $1::int + {number}", round), round + number, "a text of its own")
    statement = await conns[0].prepare("SELECT id, name FROM users WHERE id = ANY($1::int[]) ORDER BY id")
    equal([a.name for a in statement.get_attributes()], ["id", "name"], "described")
    for conn in conns[1:]:
        await conn.execute("SELECT 1")
    rows = await statement.fetch([3, 1, 2])
    equal([row["name"] for row in rows], ["user 1", "user 2", "user 3"], "an array")
    for conn in conns:
        await conn.close()


async def pool():
    async def work(pool, number):
        for step in range(15):
            async with pool.acquire() as conn, conn.transaction():
                await conn.execute("INSERT INTO notes (owner, body) VALUES ($1, $2)", number, "asyncpg")
                sql = "SELECT count(*) FROM notes WHERE owner = $1 AND body = 'asyncpg'"
                equal(await conn.fetchval(sql, number), step + 1, "notes")

    async with asyncpg.create_pool(min_size=5, max_size=5) as pool:
        await asyncio.gather(*(work(pool, number) for number in range(1, 11)))


async def types():
    conn = await asyncpg.connect()
    row = await conn.fetchrow("SELECT id, name, born, score, tags FROM users WHERE id = 6")
    equal(tuple(row), (6, "user 6", datetime.date(2000, 1, 7), 2.0, ["a6", "b"]), "a row")
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=lambda text: ("decoded", text))
    equal(await conn.fetchval("SELECT extra FROM users WHERE id = 6"), ("decoded", '{"n": 6}'), "a codec")
    # A type of the user's own is looked up with asyncpg's introspection query.
    await conn.execute("CREATE TYPE mood AS ENUM ('calm', 'angry'); CREATE TYPE pair AS (a int, b mood)")
    equal(tuple(await conn.fetchval("SELECT ROW(1, 'calm')::pair")), (1, "calm"), "a composite type")
    equal(await conn.fetchval("SELECT $1::mood[]", ["angry"]), ["angry"], "an array of an enum")
    await conn.close()


async def batches():
    conn = await asyncpg.connect()
    rows = [(n % 300 + 1, f"many {n}") for n in range(1000)]
    await conn.executemany("INSERT INTO notes (owner, body) VALUES ($1, $2)", rows)
    equal(await conn.fetchval("SELECT count(*) FROM notes WHERE body LIKE 'many%'"), 1000, "executemany")
    # All or nothing: over the limit none of it stays.
    try:
        await conn.executemany("UPDATE users SET name = 'changed' WHERE id = $1", [(n,) for n in range(1, 151)])
        check(False, "a batch past the limit")
    except asyncpg.ProgramLimitExceededError:
        pass
    equal(await conn.fetchval("SELECT count(*) FROM users WHERE name = 'changed'"), 0, "nothing of that batch")
    await conn.close()


async def copies():
    conn = await asyncpg.connect()
    records = [(n % 300 + 1, f"record {n}") for n in range(1000)]
    answer = await conn.copy_records_to_table("notes", records=records, columns=["owner", "body"])
    equal(answer, "COPY 1000", "copy_records_to_table")
    answer = await conn.copy_to_table("notes", source=io.BytesIO(b"1,from csv\n"), columns=["owner", "body"], format="csv")
    equal(answer, "COPY 1", "copy_to_table")
    out = io.BytesIO()
    await conn.copy_from_query("SELECT name FROM users WHERE id <= $1 ORDER BY id", 2, output=out)
    equal(out.getvalue(), b"user 1\nuser 2\n", "copy_from_query")
    out = io.BytesIO()
    await conn.copy_from_table("users", columns=["id"], output=out)
    equal(len(out.getvalue().splitlines()), 300, "copy_from_table")
    await conn.close()


async def notifications():
    listener, sender = await asyncpg.connect(), await asyncpg.connect()
    heard = asyncio.Queue()
    await listener.add_listener("news", lambda _conn, _pid, channel, payload: heard.put_nowait((channel, payload)))
    await sender.execute("SELECT pg_notify('news', 'by asyncpg')")
    equal(await asyncio.wait_for(heard.get(), 10), ("news", "by asyncpg"), "a notification")
    await listener.close()
    await sender.close()


async def cursors_and_transactions():
    conn = await asyncpg.connect()
    async with conn.transaction():
        ids = [row["id"] async for row in conn.cursor("SELECT id FROM users WHERE id > $1 ORDER BY id", 0, prefetch=40)]
        equal(ids, list(range(1, 301)), "a cursor")
        cursor = await conn.cursor("SELECT id FROM users ORDER BY id")
        await cursor.forward(10)
        equal((await cursor.fetchrow())["id"], 11, "a cursor moved")
        try:
            async with conn.transaction():
                await conn.execute("UPDATE users SET name = 'lost' WHERE id = 1")
                await conn.execute("DELETE FROM users")
                check(False, "a refusal in a savepoint")
        except asyncpg.InsufficientPrivilegeError:
            pass
        equal(await conn.fetchval("SELECT name FROM users WHERE id = 1"), "user 1", "behind the savepoint")
    async with conn.transaction(isolation="serializable", readonly=True):
        equal(await conn.fetchval("SHOW transaction_isolation"), "serializable", "isolation")
    await conn.close()


async def cancelling():
    conn = await asyncpg.connect()
    try:
        await conn.execute("SELECT pg_sleep(30)", timeout=0.3)
        check(False, "a statement that timed out")
    except asyncio.TimeoutError:
        pass
    equal(await conn.fetchval("SELECT 1"), 1, "after a timeout")
    await conn.close()


async def policies():
    conn = await asyncpg.connect()
    for sql, code, rule in [
        ("DELETE FROM users", "42501", "require-where/no-where"),
        ("UPDATE users SET name = 'x' WHERE id <= 150", "54000", "table_limits/rows-changed-max"),
        ("SELECT * FROM canary_keys", "42P01", None),
    ]:
        for way in (conn.execute, conn.fetch):
            try:
                await way(sql)
                check(False, f"{sql} was not refused")
            except asyncpg.PostgresError as error:
                equal((error.sqlstate, error.constraint_name), (code, rule), sql)
                check(rule is None or error.hint and error.detail, f"{sql}: no hint or detail")
            equal(await conn.fetchval("SELECT count(*) FROM users"), 300, f"users after {sql}")
    await conn.close()


async def main():
    for part in (prepared_statements, pool, types, batches, copies, notifications,
                 cursors_and_transactions, cancelling, policies):
        await part()
        print(part.__name__)
    print("fine")


asyncio.run(main())
