"""psycopg 3: prepared statements, pipelines, COPY, notifications, cursors, cancelling."""

import threading
import time

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb


def check(condition, what):
    if not condition:
        raise SystemExit(f"psycopg 3: {what}")


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def connect(**more):
    return psycopg.connect("", **more)


def refused(conn, sql, error, rule=None):
    """Runs it, checks the exception, and leaves the connection usable."""
    try:
        conn.execute(sql)
    except error as refusal:
        if rule:
            equal(refusal.diag.constraint_name, rule, sql)
            check(refusal.diag.message_hint and refusal.diag.message_detail, f"{sql}: no hint or detail")
    else:
        check(False, f"{sql} was not refused")
    conn.rollback()
    equal(conn.execute("SELECT 1").fetchone(), (1,), f"after {sql}")
    conn.rollback()


def prepared_statements():
    """Six clients share two server connections; each prepares the same and different texts."""
    conns = [connect(autocommit=True, prepare_threshold=0) for _ in range(6)]
    for round in range(10):
        for number, conn in enumerate(conns):
            row = conn.execute("SELECT name FROM users WHERE id = %s", [number + 1]).fetchone()
            equal(row, (f"user {number + 1}",), "the same text everywhere")
            row = conn.execute(f"SELECT %s::int + {number}", [round]).fetchone()
            equal(row, (round + number,), "a text of its own")
    for conn in conns:
        conn.execute("DEALLOCATE ALL")
        equal(conn.execute("SELECT name FROM users WHERE id = %s", [9]).fetchone(), ("user 9",), "after DEALLOCATE ALL")
        conn.close()


def threads():
    """Transactions of several threads at once, more than there are server connections."""
    failures = []

    def work(number):
        try:
            with connect() as conn:
                for step in range(20):
                    with conn.transaction():
                        conn.execute("INSERT INTO notes (owner, body) VALUES (%s, %s)", [number, f"step {step}"])
                        count = conn.execute("SELECT count(*) FROM notes WHERE owner = %s", [number]).fetchone()[0]
                        equal(count, step + 1, f"notes of thread {number}")
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=[number]) for number in range(1, 7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    check(not failures, f"threads: {failures}")


def pipelines():
    with connect(autocommit=True, prepare_threshold=0) as conn:
        with conn.pipeline() as pipeline:
            cursors = [conn.execute("SELECT %s::int * 2", [n]) for n in range(200)]
            pipeline.sync()
            equal([c.fetchone()[0] for c in cursors], [n * 2 for n in range(200)], "a pipeline")
        # An error discards what stands behind it, up to the sync.
        try:
            with conn.pipeline() as pipeline:
                conn.execute("SELECT 1")
                bad = conn.execute("DELETE FROM users")
                behind = conn.execute("SELECT 2")
                pipeline.sync()
                check(False, "a refused statement in a pipeline")
        except (errors.InsufficientPrivilege, psycopg.errors.PipelineAborted) as error:
            check(isinstance(error, errors.InsufficientPrivilege), f"the refusal itself, not {error!r}")
        with conn.pipeline():
            equal(conn.execute("SELECT 3").fetchone(), (3,), "a pipeline after a refusal")
        cursor = conn.cursor()
        rows = [(n, f"batch {n}") for n in range(1, 101)]
        cursor.executemany("INSERT INTO notes (owner, body) VALUES (%s, %s)", rows)
        equal(cursor.rowcount, 100, "executemany")
        cursor.executemany("INSERT INTO notes (owner, body) VALUES (%s, %s) RETURNING id", rows[:5], returning=True)
        count = 1
        while cursor.nextset():
            count += 1
        equal(count, 5, "executemany with RETURNING")


def copies():
    with connect() as conn, conn.cursor() as cursor:
        with cursor.copy("COPY notes (owner, body) FROM STDIN") as copy:
            for n in range(1000):
                copy.write_row((n % 300 + 1, f"copied\t{n}\n"))
        with cursor.copy("COPY notes (owner, body) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((7, "in binary"))
        conn.commit()
        with cursor.copy("COPY (SELECT owner, body FROM notes WHERE body LIKE 'copied%' ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            rows = list(copy.rows())
        equal((len(rows), rows[10]), (1000, (11, "copied\t10\n")), "COPY out")
        conn.commit()
        try:
            with cursor.copy("COPY notes (owner, body) FROM STDIN") as copy:
                copy.write_row((1, "never"))
                raise KeyError("the client gives up")
        except (KeyError, errors.QueryCanceled):
            conn.rollback()
        equal(cursor.execute("SELECT count(*) FROM notes WHERE body = 'never'").fetchone(), (0,), "a COPY given up")
        conn.commit()
        # A COPY over the row limit is rolled back.
        try:
            with cursor.copy("COPY users (id, name) FROM STDIN") as copy:
                for n in range(1000, 1150):
                    copy.write_row((n, "too many"))
            check(False, "a COPY past the limit")
        except errors.ProgramLimitExceeded:
            conn.rollback()
        equal(cursor.execute("SELECT count(*) FROM users WHERE id >= 1000").fetchone(), (0,), "rows of that COPY")


def notifications():
    with connect(autocommit=True) as listener, connect(autocommit=True) as sender:
        listener.execute("LISTEN news")
        for n in range(3):
            sender.execute("SELECT pg_notify('news', %s)", [f"number {n}"])
        heard = [note.payload for note in listener.notifies(timeout=10, stop_after=3)]
        equal(heard, ["number 0", "number 1", "number 2"], "notifications")
        listener.execute("UNLISTEN *")


def cursors_and_formats():
    with connect() as conn:
        with conn.cursor("walk") as walk:
            walk.itersize = 30
            walk.execute("SELECT id FROM users ORDER BY id")
            equal([row[0] for row in walk], list(range(1, 301)), "a server-side cursor")
        with conn.cursor("jump", scrollable=True) as jump:
            jump.execute("SELECT id FROM users ORDER BY id")
            jump.scroll(100)
            equal(jump.fetchone(), (101,), "a cursor scrolled")
            jump.scroll(-51)
            equal(jump.fetchone(), (51,), "a cursor scrolled back")
        conn.commit()
        for binary in (False, True):
            row = conn.cursor(binary=binary).execute(
                "SELECT id, name, born, score, tags, extra FROM users WHERE id = %b", [6]
            ).fetchone()
            equal((row[0], str(row[2]), row[3], row[4], row[5]), (6, "2000-01-07", 2.0, ["a6", "b"], {"n": 6}), "types")
            conn.execute("UPDATE users SET extra = %s, tags = %s WHERE id = 6", [Jsonb({"n": 6}), ["a6", "b"]])
        conn.commit()
        rows = list(conn.cursor().stream("SELECT id FROM users ORDER BY id"))
        equal(len(rows), 300, "a stream in single-row mode")


def transactions():
    with connect() as conn:
        with conn.transaction():
            conn.execute("UPDATE users SET name = 'kept' WHERE id = 1")
            try:
                with conn.transaction():
                    conn.execute("UPDATE users SET name = 'lost' WHERE id = 1")
                    raise psycopg.Rollback()
            except psycopg.Rollback:
                pass
            try:
                with conn.transaction():
                    conn.execute("SELECT 1 / 0")
            except errors.DivisionByZero:
                pass
            try:
                with conn.transaction():
                    conn.execute("DELETE FROM users")
            except errors.InsufficientPrivilege:
                pass
            equal(conn.execute("SELECT name FROM users WHERE id = 1").fetchone(), ("kept",), "behind savepoints")
        equal(conn.info.transaction_status, psycopg.pq.TransactionStatus.IDLE, "status")
        try:
            conn.execute("SELECT nothing")
        except errors.UndefinedColumn:
            pass
        try:
            conn.execute("SELECT 1")
            check(False, "a failed transaction answers")
        except errors.InFailedSqlTransaction:
            conn.rollback()
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        equal(conn.execute("SHOW transaction_isolation").fetchone(), ("serializable",), "isolation")
        conn.rollback()
    with connect() as conn:
        conn.tpc_begin("prepared by psycopg")
        conn.execute("UPDATE users SET name = 'two phases' WHERE id = 2")
        conn.tpc_prepare()
        conn.tpc_commit()
        equal(conn.execute("SELECT name FROM users WHERE id = 2").fetchone(), ("two phases",), "two phases")


def cancelling():
    with connect(autocommit=True) as conn:
        threading.Timer(0.3, conn.cancel_safe).start()
        try:
            conn.execute("SELECT pg_sleep(30)")
            check(False, "a statement that was cancelled")
        except errors.QueryCanceled:
            pass
        equal(conn.execute("SELECT 1").fetchone(), (1,), "after a cancel")


def settings():
    """What a client sets follows it, and nobody else."""
    with connect(autocommit=True) as one, connect(autocommit=True, options="-c DateStyle=German") as two:
        one.execute("SET TIME ZONE 'Asia/Tokyo'")
        for _ in range(5):
            equal(one.execute("SHOW TimeZone").fetchone(), ("Asia/Tokyo",), "a setting")
            equal(two.execute("SELECT date '2020-03-04'::text").fetchone(), ("04.03.2020",), "an option")
            check(two.execute("SHOW TimeZone").fetchone() != ("Asia/Tokyo",), "somebody else's setting")


def policies():
    with connect() as conn:
        refused(conn, "DELETE FROM users", errors.InsufficientPrivilege, "require-where/no-where")
        refused(conn, "UPDATE users SET name = 'x' WHERE id <= 150", errors.ProgramLimitExceeded, "table_limits/rows-changed-max")
        refused(conn, "SELECT * FROM canary_keys", errors.UndefinedTable)
        refused(conn, "SELECT a.id FROM users a, users b, users c, users d, users e", errors.StatementTooComplex)


started = time.monotonic()
check(connect().pgconn.ssl_in_use, "no TLS")
for part in (prepared_statements, threads, pipelines, copies, notifications, cursors_and_formats,
             transactions, cancelling, settings, policies):
    part()
    print(f"{part.__name__} {time.monotonic() - started:.1f}")
print("fine")
