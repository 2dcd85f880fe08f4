//! The open registries, as types.
//!
//! The gate sends numbers, so that it may learn new ones within 0.1 without
//! breaking a compiled policy. Here they have names; a number this SDK has no
//! name for is `Other` or an unnamed bit. `docs/registry.md` of the gate lists them all.

use bitflags::bitflags;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $code:literal,)+ } else $unknown:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum $name { $($(#[$vmeta])* $variant = $code,)+ }

        impl $name {
            /// Every entry this SDK knows.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// From the number of the interface.
            pub const fn from_code(code: u32) -> $name {
                match code { $($code => $name::$variant,)+ _ => $name::$unknown }
            }

            /// The number of the interface.
            pub const fn code(self) -> u32 { self as u32 }
        }
    };
}

codes! {
    /// What a statement is, by its leading verb.
    Kind {
        /// Anything this SDK has no word for.
        Other = 0,
        /// SELECT, VALUES, TABLE.
        Select = 1,
        /// INSERT, with or without ON CONFLICT.
        Insert = 2,
        /// UPDATE.
        Update = 3,
        /// DELETE.
        Delete = 4,
        /// MERGE.
        Merge = 5,
        /// TRUNCATE.
        Truncate = 6,
        /// COPY in either direction.
        Copy = 7,
        /// CREATE of anything, SELECT INTO included.
        Create = 8,
        /// ALTER of anything.
        Alter = 9,
        /// DROP of anything.
        Drop = 10,
        /// EXPLAIN; with ANALYZE the effects are those of the explained statement.
        Explain = 11,
        /// PREPARE name AS; the effects are those of the prepared statement.
        Prepare = 12,
        /// EXECUTE of an SQL-level prepared statement.
        Execute = 13,
        /// DEALLOCATE.
        Deallocate = 14,
        /// DECLARE CURSOR.
        Declare = 15,
        /// FETCH and MOVE.
        Fetch = 16,
        /// CLOSE of a cursor.
        Close = 17,
        /// BEGIN and START TRANSACTION.
        Begin = 18,
        /// COMMIT and END.
        Commit = 19,
        /// ROLLBACK and ABORT of the whole transaction.
        Rollback = 20,
        /// SAVEPOINT, RELEASE, ROLLBACK TO.
        Savepoint = 21,
        /// PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED.
        TwoPhase = 22,
        /// SET and SET CONSTRAINTS.
        Set = 23,
        /// RESET.
        Reset = 24,
        /// SHOW and PRAGMA reads.
        Show = 25,
        /// DISCARD.
        Discard = 26,
        /// LOCK TABLE.
        Lock = 27,
        /// DO.
        Do = 28,
        /// CALL.
        Call = 29,
        /// GRANT.
        Grant = 30,
        /// REVOKE.
        Revoke = 31,
        /// VACUUM, ANALYZE, CLUSTER, REINDEX, CHECKPOINT and kin.
        Maintain = 32,
        /// REFRESH MATERIALIZED VIEW.
        Refresh = 33,
        /// LISTEN, UNLISTEN, NOTIFY.
        Notify = 34,
        /// COMMENT ON, SECURITY LABEL.
        Comment = 35,
        /// LOAD, IMPORT FOREIGN SCHEMA and other ways to bring code or servers in.
        Load = 36,
        /// SQLite's ATTACH and DETACH.
        Attach = 37,
        /// SQLite's PRAGMA with a value.
        Pragma = 38,
        /// Nothing but white space and comments.
        Empty = 39,
    } else Other
}

codes! {
    /// Whose grammar the statement follows.
    Dialect {
        /// PostgreSQL.
        Postgres = 0,
        /// SQLite.
        Sqlite = 1,
        /// MySQL.
        Mysql = 2,
    } else Postgres
}

codes! {
    /// What the WHERE of the writes (or of the read) restricts.
    Predicate {
        /// The statement has no place for a predicate.
        NotApplicable = 0,
        /// There is a place and it is empty: every row.
        None = 1,
        /// There is one and it is true for every row.
        AlwaysTrue = 2,
        /// There is one that can be false.
        Real = 3,
    } else Real
}

codes! {
    /// How a statement reaches a relation.
    Via {
        /// Named at the top level.
        Direct = 0,
        /// Named inside a subquery.
        Subquery = 1,
        /// Named inside a common table expression.
        Cte = 2,
        /// Reached through a view, rule, cascade, trigger or partition, by the catalog.
        Catalog = 3,
        /// An identifier of a text that could not be parsed: possibly touched.
        Lexical = 4,
        /// Named inside a prepared statement, function body or other nested statement.
        Nested = 5,
    } else Nested
}

codes! {
    /// State of the session's transaction.
    Transaction {
        /// Not in a transaction block.
        Idle = 0,
        /// In a transaction block.
        Active = 1,
        /// In a failed transaction block.
        Failed = 2,
    } else Active
}

codes! {
    /// A number of a plan.
    Measure {
        /// Total cost of the top node.
        TotalCost = 1,
        /// Estimated rows of the top node (of the child, for a write).
        Rows = 2,
        /// Largest table (estimated rows) read from end to end.
        SequentialRows = 3,
        /// Number of tables read from end to end.
        SequentialScans = 4,
        /// Joins without a condition.
        CrossJoins = 5,
    } else TotalCost
}

codes! {
    /// How bad an alert is.
    Severity {
        /// Worth a line.
        Info = 0,
        /// Worth a look.
        Warning = 1,
        /// Somebody should look now.
        Critical = 2,
    } else Critical
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
        /// Changes session state.
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
        /// Runs code the text does not show.
        const CODE = 1 << 9;
        const _ = !0;
    }
}

bitflags! {
    /// Yes-or-no facts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Traits: u64 {
        /// Could delete or overwrite rows or objects, drop protection, or reach outside.
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
        /// A plan can be asked for.
        const PLANNABLE = 1 << 6;
        /// Cannot run inside a transaction block.
        const NO_TRANSACTION = 1 << 7;
        /// Calls at least one function that is not known to be harmless.
        const CALLS_FUNCTIONS = 1 << 8;
        /// Locks rows or tables.
        const LOCKS = 1 << 9;
        /// CASCADE was written.
        const CASCADE = 1 << 10;
        /// Opaque, but the leading keyword proves it harmless.
        const HARMLESS = 1 << 11;
        /// Text that may hold a write which the tree does not explain.
        const UNEXPLAINED_WRITE = 1 << 12;
        const _ = !0;
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
        const _ = !0;
    }
}

impl Access {
    /// Any access whatever, those of later registries included.
    pub const ANY: Access = Access::all();
    /// Any access that changes rows.
    pub const CHANGE: Access = Access::INSERT
        .union(Access::UPDATE)
        .union(Access::DELETE)
        .union(Access::TRUNCATE);
}

bitflags! {
    /// By what a rate is counted; several together make one key.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct RateBy: u64 {
        /// The user.
        const USER = 1;
        /// The client's address.
        const ADDRESS = 2;
        /// application_name.
        const APPLICATION = 4;
        /// The database.
        const DATABASE = 8;
        /// The statement's kind.
        const CLASS = 16;
    }
}
