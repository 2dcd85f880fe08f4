//! The open registries: numbers that cross the policy interface, with their names.
//!
//! One table for both sides: the gate's `model::code` and the SDK's `code` each
//! make their own types of it. wasmtime compares enums and flags exactly, so
//! everything that may grow is a number. Numbers are never reused or renumbered;
//! a reader takes an unknown one for what `unknown is` says, and ignores bits it
//! does not know. `docs/registry.md` is generated from here.

/// Hands every registry to the macro that makes an enum, or to the one that makes flags.
macro_rules! registries {
    ($codes:ident, $flags:ident) => {
        $codes! {
            /// What a statement is, by its leading verb.
            Kind, unknown is Other {
                /// Anything this registry has no word for.
                Other = 0 => "other",
                /// SELECT, VALUES, TABLE.
                Select = 1 => "select",
                /// INSERT, with or without ON CONFLICT.
                Insert = 2 => "insert",
                /// UPDATE.
                Update = 3 => "update",
                /// DELETE.
                Delete = 4 => "delete",
                /// MERGE.
                Merge = 5 => "merge",
                /// TRUNCATE.
                Truncate = 6 => "truncate",
                /// COPY in either direction.
                Copy = 7 => "copy",
                /// CREATE of anything, SELECT INTO included.
                Create = 8 => "create",
                /// ALTER of anything.
                Alter = 9 => "alter",
                /// DROP of anything.
                Drop = 10 => "drop",
                /// EXPLAIN; effects are those of the explained statement under ANALYZE.
                Explain = 11 => "explain",
                /// PREPARE name AS; effects are those of the prepared statement.
                Prepare = 12 => "prepare",
                /// EXECUTE of an SQL-level prepared statement.
                Execute = 13 => "execute",
                /// DEALLOCATE.
                Deallocate = 14 => "deallocate",
                /// DECLARE CURSOR.
                Declare = 15 => "declare",
                /// FETCH and MOVE.
                Fetch = 16 => "fetch",
                /// CLOSE of a cursor.
                Close = 17 => "close",
                /// BEGIN and START TRANSACTION.
                Begin = 18 => "begin",
                /// COMMIT and END.
                Commit = 19 => "commit",
                /// ROLLBACK and ABORT of the whole transaction.
                Rollback = 20 => "rollback",
                /// SAVEPOINT, RELEASE, ROLLBACK TO.
                Savepoint = 21 => "savepoint",
                /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
                TwoPhase = 22 => "two-phase",
                /// SET and SET CONSTRAINTS.
                Set = 23 => "set",
                /// RESET.
                Reset = 24 => "reset",
                /// SHOW and PRAGMA reads.
                Show = 25 => "show",
                /// DISCARD.
                Discard = 26 => "discard",
                /// LOCK TABLE.
                Lock = 27 => "lock",
                /// DO.
                Do = 28 => "do",
                /// CALL.
                Call = 29 => "call",
                /// GRANT.
                Grant = 30 => "grant",
                /// REVOKE.
                Revoke = 31 => "revoke",
                /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT and kin.
                Maintain = 32 => "maintain",
                /// REFRESH MATERIALIZED VIEW.
                Refresh = 33 => "refresh",
                /// LISTEN, UNLISTEN, NOTIFY.
                Notify = 34 => "notify",
                /// COMMENT ON, SECURITY LABEL.
                Comment = 35 => "comment",
                /// LOAD, IMPORT FOREIGN SCHEMA and other ways to bring code or servers in.
                Load = 36 => "load",
                /// SQLite's ATTACH and DETACH.
                Attach = 37 => "attach",
                /// SQLite's PRAGMA with a value.
                Pragma = 38 => "pragma",
                /// Nothing but white space and comments.
                Empty = 39 => "empty",
            }
        }

        $codes! {
            /// What the WHERE of the write (or of the read) restricts.
            Predicate, unknown is Real {
                /// The statement has no place for a predicate.
                NotApplicable = 0 => "n/a",
                /// There is a place and it is empty: every row.
                None = 1 => "none",
                /// There is one and it is true for every row.
                AlwaysTrue = 2 => "always-true",
                /// There is one that can be false.
                Real = 3 => "real",
            }
        }

        $codes! {
            /// How a statement reaches a relation.
            Via, unknown is Nested {
                /// Named at the top level.
                Direct = 0 => "direct",
                /// Named inside a subquery.
                Subquery = 1 => "subquery",
                /// Named inside a common table expression.
                Cte = 2 => "cte",
                /// Reached through a view, rule, cascade, trigger or partition, by the catalog.
                Catalog = 3 => "catalog",
                /// An identifier of a text that could not be parsed: possibly touched.
                Lexical = 4 => "lexical",
                /// Named inside a prepared statement, function body or other nested statement.
                Nested = 5 => "nested",
            }
        }

        $codes! {
            /// Whose grammar a text follows.
            Dialect, unknown is Postgres {
                /// PostgreSQL.
                Postgres = 0 => "postgres",
                /// SQLite.
                Sqlite = 1 => "sqlite",
                /// MySQL.
                Mysql = 2 => "mysql",
            }
        }

        $codes! {
            /// A number of a plan that a policy may bound.
            Measure, unknown is TotalCost {
                /// Total cost of the top node.
                TotalCost = 1 => "total-cost",
                /// Estimated rows of the top node (of the child, for a write).
                Rows = 2 => "rows",
                /// Largest table (estimated rows) read from end to end.
                SequentialRows = 3 => "sequential-rows",
                /// Number of tables read from end to end.
                SequentialScans = 4 => "sequential-scans",
                /// Joins without a condition.
                CrossJoins = 5 => "cross-joins",
            }
        }

        $codes! {
            /// What became of a statement.
            Outcome, unknown is Failed {
                /// It ran.
                Allowed = 0 => "allowed",
                /// A policy, a limit or the gate said no.
                Refused = 1 => "refused",
                /// A policy answered in the database's place.
                Responded = 2 => "responded",
                /// The database answered with an error.
                Failed = 3 => "failed",
                /// It was cancelled, or the client vanished.
                Cancelled = 4 => "cancelled",
                /// It ran only because the policy that refused it is in monitor mode.
                Monitored = 5 => "monitored",
            }
        }

        $codes! {
            /// A field of an event. Numbers are 0 and texts empty where nothing is known.
            EventField, unknown is None {
                /// No field.
                None = 0 => "none",
                /// Number: code of the outcome.
                Outcome = 1 => "outcome",
                /// Number: code of the statement's kind.
                Kind = 2 => "kind",
                /// Number: bits of the statement's effects.
                Effects = 3 => "effects",
                /// Number: rows returned to the client.
                RowsReturned = 4 => "rows-returned",
                /// Number: rows changed, where known.
                RowsChanged = 5 => "rows-changed",
                /// Number: nanoseconds spent deciding.
                DecideNanos = 6 => "decide-ns",
                /// Number: nanoseconds spent in the database.
                ExecuteNanos = 7 => "execute-ns",
                /// Number: 1 when the verdict was remembered.
                Remembered = 8 => "remembered",
                /// Text: the statement with literals as placeholders.
                Statement = 32 => "statement",
                /// Text: the policy that refused it, or would have.
                Policy = 33 => "policy",
                /// Text: the rule of that policy.
                Rule = 34 => "rule",
                /// Text: SQLSTATE of the error that the client got.
                Sqlstate = 35 => "sqlstate",
                /// Text: the incident id that the client got.
                Incident = 36 => "incident",
            }
        }

        $flags! {
            /// What a statement can do, as far as its text proves or leaves open.
            Effects {
                /// Reads rows or catalog data.
                READS = 1 => "reads",
                /// Changes rows.
                WRITES = 1 << 1 => "writes",
                /// Creates, changes or drops objects.
                SCHEMA = 1 << 2 => "schema",
                /// Changes session state (settings, prepared statements, cursors, temporary objects).
                SESSION = 1 << 3 => "session",
                /// Begins, ends or marks a transaction.
                TRANSACTION = 1 << 4 => "transaction",
                /// Changes rights, roles, or protection such as row security.
                PRIVILEGE = 1 << 5 => "privilege",
                /// Reads or writes files of the server.
                SERVER_FILE = 1 << 6 => "server-file",
                /// Runs a program on the server.
                PROGRAM = 1 << 7 => "program",
                /// Talks to another server.
                NETWORK = 1 << 8 => "network",
                /// Runs code the text does not show: DO, CALL, function bodies, EXECUTE of unknown text.
                CODE = 1 << 9 => "code",
            }
        }

        $flags! {
            /// Yes-or-no facts that are always part of the memo key.
            Traits {
                /// Could delete or overwrite rows or objects, drop protection or recovery, or reach outside.
                DESTRUCTIVE = 1 => "destructive",
                /// Not fully understood; facts are lexical.
                OPAQUE = 1 << 1 => "opaque",
                /// Answers with rows.
                RETURNS_ROWS = 1 << 2 => "returns-rows",
                /// One of several statements in its string.
                IN_STRING = 1 << 3 => "in-string",
                /// Has a LIMIT or FETCH FIRST that is a constant.
                LIMITED = 1 << 4 => "limited",
                /// EXPLAIN without ANALYZE: nothing runs.
                PLAN_ONLY = 1 << 5 => "plan-only",
                /// A plan can be asked for (EXPLAIN accepts it).
                PLANNABLE = 1 << 6 => "plannable",
                /// Cannot run inside a transaction block.
                NO_TRANSACTION = 1 << 7 => "no-transaction",
                /// Calls at least one function that is not on the harmless list.
                CALLS_FUNCTIONS = 1 << 8 => "calls-functions",
                /// Locks rows or tables (FOR UPDATE, LOCK TABLE).
                LOCKS = 1 << 9 => "locks",
                /// CASCADE was written.
                CASCADE = 1 << 10 => "cascade",
                /// Opaque, but the leading keyword proves it harmless.
                HARMLESS = 1 << 11 => "harmless",
                /// Text that may hold a write which the tree does not explain.
                UNEXPLAINED_WRITE = 1 << 12 => "unexplained-write",
            }
        }

        $flags! {
            /// What a statement does to one relation.
            Access {
                /// Rows are read.
                SELECT = 1 => "select",
                /// Rows are added.
                INSERT = 1 << 1 => "insert",
                /// Rows are changed.
                UPDATE = 1 << 2 => "update",
                /// Rows are removed.
                DELETE = 1 << 3 => "delete",
                /// All rows are removed at once.
                TRUNCATE = 1 << 4 => "truncate",
                /// The relation is created.
                CREATE = 1 << 5 => "create",
                /// The relation is altered.
                ALTER = 1 << 6 => "alter",
                /// The relation is dropped.
                DROP = 1 << 7 => "drop",
                /// The relation or its rows are locked.
                LOCK = 1 << 8 => "lock",
                /// Named without a known use (opaque text).
                POSSIBLE = 1 << 9 => "possible",
                /// Rights on it, comments, statistics.
                OTHER = 1 << 10 => "other",
            }
        }

        $flags! {
            /// What a statement does with a column it names.
            ColumnUses {
                /// Its value goes somewhere: into a result, a function, another column.
                VALUE = 1 => "value",
                /// It only decides which rows: WHERE, ON, USING, GROUP BY, HAVING, ORDER BY.
                CONDITION = 1 << 1 => "condition",
                /// It is given a value.
                WRITTEN = 1 << 2 => "written",
            }
        }

        $flags! {
            /// What is found in at least one literal string or bind value.
            ValueFeatures {
                /// A single or double quote.
                QUOTE = 1 => "quote",
                /// `--`, `/*` or `*/`.
                COMMENT = 1 << 1 => "comment",
                /// An SQL keyword that starts or joins statements, as a whole word.
                KEYWORD = 1 << 2 => "keyword",
                /// A control byte other than tab and line ends.
                CONTROL = 1 << 3 => "control",
                /// Longer than 1,024 bytes.
                LONG = 1 << 4 => "long",
                /// A semicolon.
                SEMICOLON = 1 << 5 => "semicolon",
                /// A backslash.
                BACKSLASH = 1 << 6 => "backslash",
                /// A byte above 127.
                NON_ASCII = 1 << 7 => "non-ascii",
                /// A word or number compared with itself: `1=1`, `'a'='a'`.
                EQUATION = 1 << 8 => "equation",
                /// A word directly before an opening bracket.
                CALL = 1 << 9 => "call",
                /// In the statement, not in a value: a comment alone between two words, `UNION/**/SELECT`.
                SPLICED = 1 << 10 => "spliced",
            }
        }
    };
}

pub(crate) use registries;
