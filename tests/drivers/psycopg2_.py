"""psycopg 2: the simple protocol, COPY, large objects, named cursors, polling for notifications."""

import io
import select
import threading

import psycopg2
import psycopg2.extras
from psycopg2 import errorcodes, errors, extensions


def check(condition, what):
    if not condition:
        raise SystemExit(f"psycopg 2: {what}")


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def connect(autocommit=False):
    conn = psycopg2.connect("")
    conn.autocommit = autocommit
    return conn


def value(conn, sql, values=None):
    with conn.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def clients_share():
    conns = [connect() for _ in range(6)]
    for round in range(10):
        for number, conn in enumerate(conns, 1):
            with conn, conn.cursor() as cursor:
                cursor.execute("INSERT INTO notes (owner, body) VALUES (%s, 'psycopg 2') RETURNING id", [number])
                cursor.fetchone()
                cursor.execute("SELECT count(*) FROM notes WHERE owner = %s AND body = 'psycopg 2'", [number])
                equal(cursor.fetchone()[0], round + 1, "notes")
    for conn in conns:
        conn.close()


def batches():
    conn = connect()
    with conn, conn.cursor() as cursor:
        rows = [(n, f"values {n}") for n in range(1, 251)]
        psycopg2.extras.execute_values(cursor, "INSERT INTO notes (owner, body) VALUES %s", rows, page_size=100)
        psycopg2.extras.execute_batch(cursor, "UPDATE notes SET body = body || '!' WHERE owner = %s AND body = %s", rows)
        cursor.execute("SELECT count(*) FROM notes WHERE body LIKE 'values%!'")
        equal(cursor.fetchone()[0], 250, "batches")
    with conn, conn.cursor() as cursor:
        cursor.execute("PREPARE find (int) AS SELECT name FROM users WHERE id = $1")
        cursor.execute("EXECUTE find (%s)", [12])
        equal(cursor.fetchone(), ("user 12",), "PREPARE and EXECUTE")
        cursor.execute("DEALLOCATE find")
    conn.close()


def copies():
    conn = connect()
    with conn, conn.cursor() as cursor:
        text = "".join(f"{n % 300 + 1}\tcopied {n}\n" for n in range(2000))
        cursor.copy_from(io.StringIO(text), "notes", columns=("owner", "body"))
        equal(cursor.rowcount, 2000, "copy_from")
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT body FROM notes WHERE body LIKE 'copied%' ORDER BY id) TO STDOUT", out)
        equal(out.getvalue().splitlines()[1999], "copied 1999", "copy_expert")
        out = io.StringIO()
        cursor.copy_to(out, "users", columns=("id",))
        equal(len(out.getvalue().splitlines()), 300, "copy_to")
    conn.close()


def large_objects():
    conn = connect()
    content = bytes(n * 7 % 251 for n in range(100_000))
    with conn:
        new = conn.lobject(0, "wb")
        new.write(content)
        oid = new.oid
        new.close()
    with conn:
        old = conn.lobject(oid, "rwb")
        equal(old.read(10), content[:10], "the beginning")
        old.seek(-10, 2)
        equal(old.read(), content[-10:], "the end")
        old.truncate(50_000)
        equal(old.seek(0, 2), 50_000, "truncated")
        old.close()
    with conn:
        conn.lobject(oid, "n").unlink()
    with conn:
        equal(value(conn, "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = %s", [oid]), 0, "unlinked")
    conn.close()


def notifications():
    listener, sender = connect(autocommit=True), connect(autocommit=True)
    listener.cursor().execute("LISTEN news")
    sender.cursor().execute("NOTIFY news, 'by psycopg 2'")
    check(select.select([listener], [], [], 10)[0], "no notification")
    listener.poll()
    equal([note.payload for note in listener.notifies], ["by psycopg 2"], "notifications")
    listener.close()
    sender.close()


def cursors():
    conn = connect()
    with conn, conn.cursor("walk", cursor_factory=psycopg2.extras.DictCursor) as walk:
        walk.itersize = 25
        walk.execute("SELECT id, name FROM users ORDER BY id")
        equal([row["id"] for row in walk], list(range(1, 301)), "a named cursor")
    holder = connect()
    walk = holder.cursor("held", withhold=True)
    walk.execute("SELECT id FROM users ORDER BY id")
    holder.commit()
    equal(walk.fetchmany(3), [(1,), (2,), (3,)], "a cursor WITH HOLD after its transaction")
    walk.close()
    holder.close()
    conn.close()


def transactions():
    conn = connect()
    cursor = conn.cursor()
    cursor.execute("SAVEPOINT one")
    try:
        cursor.execute("INSERT INTO users (id, name) VALUES (1, 'twice')")
        check(False, "a unique violation")
    except errors.UniqueViolation as error:
        equal(error.diag.constraint_name, "users_pkey", "the constraint")
    equal(conn.get_transaction_status(), extensions.TRANSACTION_STATUS_INERROR, "status")
    try:
        cursor.execute("SELECT 1")
        check(False, "a failed transaction answers")
    except errors.InFailedSqlTransaction:
        pass
    cursor.execute("ROLLBACK TO one")
    cursor.execute("SELECT 1")
    conn.commit()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
    try:
        cursor.execute("UPDATE users SET name = 'x' WHERE id = 1")
        check(False, "a read-only transaction writes")
    except errors.ReadOnlySqlTransaction:
        conn.rollback()
    conn.set_session(isolation_level="DEFAULT", readonly=False)
    conn.tpc_begin(conn.xid(1, "by psycopg 2", "branch"))
    cursor.execute("UPDATE users SET name = 'two' WHERE id = 3")
    conn.tpc_prepare()
    conn.tpc_rollback()
    equal(value(conn, "SELECT name FROM users WHERE id = 3"), "user 3", "two phases, rolled back")
    conn.close()


def cancelling():
    conn = connect(autocommit=True)
    threading.Timer(0.3, conn.cancel).start()
    try:
        conn.cursor().execute("SELECT pg_sleep(30)")
        check(False, "a statement that was cancelled")
    except errors.QueryCanceled:
        equal(value(conn, "SELECT 1"), 1, "after a cancel")
    conn.close()


def policies():
    conn = connect()
    for sql, code, rule in [
        ("DELETE FROM users", errorcodes.INSUFFICIENT_PRIVILEGE, "require-where/no-where"),
        ("UPDATE users SET name = 'x' WHERE id <= 150", errorcodes.PROGRAM_LIMIT_EXCEEDED, "table_limits/rows-changed-max"),
        ("SELECT * FROM canary_keys", errorcodes.UNDEFINED_TABLE, None),
        ("SELECT 1; DROP TABLE users", errorcodes.INSUFFICIENT_PRIVILEGE, "table_limits/drop"),
    ]:
        try:
            conn.cursor().execute(sql)
            check(False, f"{sql} was not refused")
        except psycopg2.Error as error:
            equal((error.pgcode, error.diag.constraint_name), (code, rule), sql)
            check(rule is None or error.diag.message_hint, f"{sql}: no hint")
        conn.rollback()
        equal(value(conn, "SELECT count(*) FROM users"), 300, f"users after {sql}")
        conn.rollback()
    conn.close()


check(connect().info.ssl_in_use, "no TLS")
for part in (clients_share, batches, copies, large_objects, notifications, cursors, transactions, cancelling, policies):
    part()
    print(part.__name__)
print("fine")
