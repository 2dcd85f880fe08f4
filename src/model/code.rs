//! The open registries: numbers that cross the policy interface.
//!
//! wasmtime compares enums and flags exactly, so everything that may grow is a
//! number with a table of names. Numbers are never reused or renumbered; a
//! reader treats an unknown one as "other". `docs/registry.md` is generated
//! from here.

use bitflags::bitflags;

macro_rules! registry {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every entry, in the order of the registry.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The name used in JSON, logs and documentation.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The number used in the policy interface.
            pub const fn code(self) -> u32 { self as u32 }

            /// The entry with this number, if this version knows it.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }

            /// The entry with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

registry! {
    /// What a statement is, by its leading verb.
    Kind {
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

registry! {
    /// What the WHERE of the write (or of the read) restricts.
    Predicate {
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

registry! {
    /// How a statement reaches a relation.
    Via {
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

registry! {
    /// Whose grammar a text follows.
    Dialect {
        /// PostgreSQL.
        Postgres = 0 => "postgres",
        /// SQLite.
        Sqlite = 1 => "sqlite",
        /// MySQL.
        Mysql = 2 => "mysql",
    }
}

bitflags! {
    /// What a statement can do, as far as its text proves or leaves open.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Effects: u64 {
        /// Reads rows or catalog data.
        const READS = 1;
        /// Changes rows.
        const WRITES = 1 << 1;
        /// Creates, changes or drops objects.
        const SCHEMA = 1 << 2;
        /// Changes session state (settings, prepared statements, cursors, temporary objects).
        const SESSION = 1 << 3;
        /// Begins, ends or marks a transaction.
        const TRANSACTION = 1 << 4;
        /// Changes rights, roles, or protection such as row security.
        const PRIVILEGE = 1 << 5;
        /// Reads or writes files of the server.
        const SERVER_FILE = 1 << 6;
        /// Runs a program on the server.
        const PROGRAM = 1 << 7;
        /// Talks to another server.
        const NETWORK = 1 << 8;
        /// Runs code the text does not show: DO, CALL, function bodies, EXECUTE of unknown text.
        const CODE = 1 << 9;
    }
}

bitflags! {
    /// Yes-or-no facts that are always part of the memo key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Traits: u64 {
        /// Could delete or overwrite rows or objects, drop protection or recovery, or reach outside.
        const DESTRUCTIVE = 1;
        /// Not fully understood; facts are lexical.
        const OPAQUE = 1 << 1;
        /// Answers with rows.
        const RETURNS_ROWS = 1 << 2;
        /// One of several statements in its string.
        const IN_STRING = 1 << 3;
        /// Has a LIMIT or FETCH FIRST that is a constant.
        const LIMITED = 1 << 4;
        /// EXPLAIN without ANALYZE: nothing runs.
        const PLAN_ONLY = 1 << 5;
        /// A plan can be asked for (EXPLAIN accepts it).
        const PLANNABLE = 1 << 6;
        /// Cannot run inside a transaction block.
        const NO_TRANSACTION = 1 << 7;
        /// Calls at least one function that is not on the harmless list.
        const CALLS_FUNCTIONS = 1 << 8;
        /// Locks rows or tables (FOR UPDATE, LOCK TABLE).
        const LOCKS = 1 << 9;
        /// CASCADE was written.
        const CASCADE = 1 << 10;
        /// Opaque, but the leading keyword proves it harmless.
        const HARMLESS = 1 << 11;
        /// Text that may hold a write which the tree does not explain.
        const UNEXPLAINED_WRITE = 1 << 12;
    }
}

bitflags! {
    /// What a statement does to one relation.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Access: u64 {
        /// Rows are read.
        const SELECT = 1;
        /// Rows are added.
        const INSERT = 1 << 1;
        /// Rows are changed.
        const UPDATE = 1 << 2;
        /// Rows are removed.
        const DELETE = 1 << 3;
        /// All rows are removed at once.
        const TRUNCATE = 1 << 4;
        /// The relation is created.
        const CREATE = 1 << 5;
        /// The relation is altered.
        const ALTER = 1 << 6;
        /// The relation is dropped.
        const DROP = 1 << 7;
        /// The relation or its rows are locked.
        const LOCK = 1 << 8;
        /// Named without a known use (opaque text).
        const POSSIBLE = 1 << 9;
        /// Rights on it, comments, statistics.
        const OTHER = 1 << 10;
    }
}

bitflags! {
    /// What is found in at least one literal string or bind value.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ValueFeatures: u64 {
        /// A single or double quote.
        const QUOTE = 1;
        /// `--`, `/*` or `*/`.
        const COMMENT = 1 << 1;
        /// An SQL keyword that starts or joins statements, as a whole word.
        const KEYWORD = 1 << 2;
        /// A control byte other than tab and line ends.
        const CONTROL = 1 << 3;
        /// Longer than 1,024 bytes.
        const LONG = 1 << 4;
        /// A semicolon.
        const SEMICOLON = 1 << 5;
        /// A backslash.
        const BACKSLASH = 1 << 6;
        /// A byte above 127.
        const NON_ASCII = 1 << 7;
    }
}

impl Access {
    /// Any access that changes rows.
    pub const CHANGE: Access = Access::INSERT
        .union(Access::UPDATE)
        .union(Access::DELETE)
        .union(Access::TRUNCATE);
}

macro_rules! flag_names {
    ($ty:ident { $($flag:ident => $text:literal,)+ }) => {
        impl $ty {
            /// Flag and name, in the order of the registry.
            pub const NAMES: &'static [($ty, &'static str)] = &[$(($ty::$flag, $text),)+];

            /// Names of the flags that are set.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
            }
        }
    };
}

flag_names!(Effects {
    READS => "reads",
    WRITES => "writes",
    SCHEMA => "schema",
    SESSION => "session",
    TRANSACTION => "transaction",
    PRIVILEGE => "privilege",
    SERVER_FILE => "server-file",
    PROGRAM => "program",
    NETWORK => "network",
    CODE => "code",
});

flag_names!(Traits {
    DESTRUCTIVE => "destructive",
    OPAQUE => "opaque",
    RETURNS_ROWS => "returns-rows",
    IN_STRING => "in-string",
    LIMITED => "limited",
    PLAN_ONLY => "plan-only",
    PLANNABLE => "plannable",
    NO_TRANSACTION => "no-transaction",
    CALLS_FUNCTIONS => "calls-functions",
    LOCKS => "locks",
    CASCADE => "cascade",
    HARMLESS => "harmless",
    UNEXPLAINED_WRITE => "unexplained-write",
});

flag_names!(ValueFeatures {
    QUOTE => "quote",
    COMMENT => "comment",
    KEYWORD => "keyword",
    CONTROL => "control",
    LONG => "long",
    SEMICOLON => "semicolon",
    BACKSLASH => "backslash",
    NON_ASCII => "non-ascii",
});

flag_names!(Access {
    SELECT => "select",
    INSERT => "insert",
    UPDATE => "update",
    DELETE => "delete",
    TRUNCATE => "truncate",
    CREATE => "create",
    ALTER => "alter",
    DROP => "drop",
    LOCK => "lock",
    POSSIBLE => "possible",
    OTHER => "other",
});
