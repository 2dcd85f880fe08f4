//! The words the readers know, with PostgreSQL's four classes.
//!
//! The class decides where a bare word may be a name: that is what makes
//! clause boundaries unambiguous without parsing expressions.

/// PostgreSQL's keyword classes (`kwlist.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Never a name, unless after `AS` or a dot.
    Reserved,
    /// May name a type or a function, not a column or table.
    TypeFunction,
    /// May name a column or table, not a function.
    Column,
    /// May name anything.
    Free,
}

macro_rules! keywords {
    ($($class:ident { $($text:literal $name:ident,)+ })+) => {
        /// A keyword, or [`Kw::None`] for every other word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "each is the keyword it is named after")]
        pub enum Kw { None = 0, $($($name,)+)+ }

        const WORDS: &[(&str, Kw, Class)] = &[$($(($text, Kw::$name, Class::$class),)+)+];
    };
}

keywords! {
    Reserved {
        "all" All, "analyse" Analyse, "analyze" Analyze, "and" And, "any" Any, "array" Array, "as" As, "asc" Asc,
        "asymmetric" Asymmetric, "both" Both, "case" Case, "cast" Cast, "check" Check, "collate" Collate,
        "column" Column, "constraint" Constraint, "create" Create, "current_catalog" CurrentCatalog,
        "current_date" CurrentDate, "current_role" CurrentRole, "current_time" CurrentTime,
        "current_timestamp" CurrentTimestamp, "current_user" CurrentUser, "default" Default,
        "deferrable" Deferrable, "desc" Desc, "distinct" Distinct, "do" Do, "else" Else, "end" End,
        "except" Except, "false" False, "fetch" Fetch, "for" For, "foreign" Foreign, "from" From,
        "grant" Grant, "group" Group, "having" Having, "in" In, "initially" Initially,
        "intersect" Intersect, "into" Into, "lateral" Lateral, "leading" Leading, "limit" Limit,
        "localtime" Localtime, "localtimestamp" Localtimestamp, "not" Not, "null" Null, "offset" Offset,
        "on" On, "only" Only, "or" Or, "order" Order, "placing" Placing, "primary" Primary,
        "references" References, "returning" Returning, "select" Select, "session_user" SessionUser,
        "some" Some, "symmetric" Symmetric, "table" Table, "then" Then, "to" To, "trailing" Trailing,
        "true" True, "union" Union, "unique" Unique, "user" User, "using" Using, "variadic" Variadic,
        "when" When, "where" Where, "window" Window, "with" With,
    }
    TypeFunction {
        "authorization" Authorization, "binary" Binary, "collation" Collation, "concurrently" Concurrently,
        "cross" Cross, "current_schema" CurrentSchema, "freeze" Freeze, "full" Full, "ilike" Ilike,
        "inner" Inner, "is" Is, "isnull" Isnull, "join" Join, "left" Left, "like" Like, "natural" Natural,
        "notnull" Notnull, "outer" Outer, "overlaps" Overlaps, "right" Right, "similar" Similar,
        "tablesample" Tablesample, "verbose" Verbose,
    }
    Column {
        "between" Between, "coalesce" Coalesce, "exists" Exists, "extract" Extract, "float" Float,
        "bit" Bit, "boolean" Boolean, "char" Char, "character" Character, "dec" Dec, "decimal" Decimal,
        "int" Int, "integer" Integer, "bigint" Bigint, "smallint" Smallint, "real" Real, "numeric" Numeric,
        "greatest" Greatest, "grouping" Grouping, "inout" Inout, "interval" Interval, "least" Least,
        "national" National, "nchar" Nchar, "none" NoneWord, "nullif" Nullif, "out" Out,
        "overlay" Overlay, "position" Position, "precision" Precision, "row" Row, "setof" Setof,
        "substring" Substring, "time" Time, "timestamp" Timestamp, "treat" Treat, "trim" Trim,
        "values" Values, "varchar" Varchar, "xmltable" Xmltable, "json_table" JsonTable,
        "normalize" Normalize, "xmlserialize" Xmlserialize,
    }
    Free {
        "abort" Abort, "absolute" Absolute, "access" Access, "action" Action, "add" Add, "after" After, "aggregate" Aggregate,
        "also" Also, "alter" Alter, "always" Always, "at" At, "atomic" Atomic, "attach" Attach,
        "backward" Backward, "before" Before, "begin" Begin, "by" By, "call" Call, "cascade" Cascade,
        "chain" Chain, "characteristics" Characteristics, "checkpoint" Checkpoint, "class" Class, "close" Close,
        "cluster" Cluster, "comment" Comment, "commit" Commit, "committed" Committed, "conflict" Conflict, "constraints" Constraints,
        "configuration" Configuration, "continue" Continue, "conversion" Conversion, "copy" Copy, "current" Current, "cursor" Cursor, "cycle" Cycle,
        "data" Data, "database" Database, "deallocate" Deallocate, "declare" Declare, "delete" Delete,
        "detach" Detach, "dictionary" Dictionary, "disable" Disable, "discard" Discard, "document" Document, "domain" Domain, "drop" Drop,
        "enable" Enable, "escape" Escape, "event" Event, "execute" Execute, "explain" Explain,
        "extension" Extension, "filter" Filter, "finalize" Finalize, "first" First, "following" Following, "force" Force,
        "forward" Forward, "function" Function, "functions" Functions, "global" Global, "glob" Glob, "granted" Granted,
        "hold" Hold, "if" If, "immediate" Immediate, "import" Import, "include" Include, "index" Index, "indexed" Indexed, "inherit" Inherit,
        "inherits" Inherits, "insensitive" Insensitive, "insert" Insert, "instead" Instead, "isolation" Isolation, "key" Key, "label" Label,
        "language" Language, "large" Large, "last" Last, "level" Level, "listen" Listen, "load" Load, "local" Local,
        "lock" Lock, "locked" Locked, "logged" Logged, "mapping" Mapping, "match" Match, "matched" Matched,
        "materialized" Materialized, "merge" Merge, "mode" Mode, "move" Move, "name" Name, "names" Names, "next" Next, "no" No,
        "nothing" Nothing, "notify" Notify, "nowait" Nowait, "nulls" Nulls, "object" Object, "of" Of, "off" Off,
        "operator" Operator, "option" Option, "options" Options, "ordinality" Ordinality, "over" Over,
        "overriding" Overriding, "owned" Owned, "owner" Owner, "parser" Parser, "partition" Partition, "partitions" Partitions,
        "plans" Plans, "policy" Policy, "pragma" Pragma, "preceding" Preceding, "prepare" Prepare, "prepared" Prepared, "prior" Prior,
        "privileges" Privileges, "procedural" Procedural, "procedure" Procedure, "program" Program,
        "publication" Publication, "query" Query, "read" Read, "reassign" Reassign, "recursive" Recursive,
        "refresh" Refresh, "regexp" Regexp, "reindex" Reindex, "relative" Relative, "release" Release, "rename" Rename,
        "repeatable" Repeatable, "replace" Replace, "replica" Replica, "reset" Reset, "restart" Restart, "restrict" Restrict, "revoke" Revoke,
        "role" Role, "rollback" Rollback, "routine" Routine, "rows" Rows, "rule" Rule, "savepoint" Savepoint,
        "schema" Schema, "scroll" Scroll, "search" Search, "security" Security, "sequence" Sequence, "sequences" Sequences,
        "serializable" Serializable, "server" Server, "session" Session, "set" Set, "share" Share, "show" Show, "skip" Skip, "snapshot" Snapshot,
        "source" Source, "start" Start, "statement" Statement, "statistics" Statistics, "stdin" Stdin, "stdout" Stdout,
        "storage" Storage, "subscription" Subscription, "system" System, "tables" Tables, "tablespace" Tablespace, "target" Target,
        "temp" Temp, "template" Template, "temporary" Temporary, "text" Text, "ties" Ties, "transaction" Transaction,
        "transform" Transform, "trigger" Trigger, "truncate" Truncate, "trusted" Trusted, "type" Type, "types" Types, "uescape" Uescape,
        "uncommitted" Uncommitted, "unlisten" Unlisten, "unlogged" Unlogged, "update" Update, "vacuum" Vacuum,
        "validate" Validate, "value" Value, "view" View, "virtual" Virtual, "without" Without, "within" Within, "work" Work,
        "wrapper" Wrapper, "write" Write, "xml" Xml, "year" Year, "zone" Zone,
    }
}

const SLOTS: usize = 2048;

const fn slot(bytes: &[u8]) -> usize {
    let mut hash: u32 = bytes.len() as u32;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ (bytes[i] | 0x20) as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    ((hash ^ (hash >> 15)) as usize) & (SLOTS - 1)
}

const fn table() -> [u16; SLOTS] {
    let mut table = [0u16; SLOTS];
    let mut i = 0;
    while i < WORDS.len() {
        let mut at = slot(WORDS[i].0.as_bytes());
        while table[at] != 0 {
            at = (at + 1) & (SLOTS - 1);
        }
        table[at] = i as u16 + 1;
        i += 1;
    }
    table
}

static TABLE: [u16; SLOTS] = table();

/// Longest keyword in bytes; longer words need no look-up.
const LONGEST: usize = 17;

impl Kw {
    /// The keyword that a bare word is, in any case.
    pub fn of(word: &[u8]) -> Kw {
        if word.len() > LONGEST {
            return Kw::None;
        }
        let mut at = slot(word);
        loop {
            match TABLE[at] {
                0 => return Kw::None,
                found => {
                    let (text, kw, _) = WORDS[found as usize - 1];
                    if text.as_bytes().eq_ignore_ascii_case(word) {
                        return kw;
                    }
                }
            }
            at = (at + 1) & (SLOTS - 1);
        }
    }

    /// The class of the keyword.
    pub fn class(self) -> Class {
        match self {
            Kw::None => Class::Free,
            kw => WORDS[kw as usize - 1].2,
        }
    }

    /// May not be a name at all without `AS` or a dot before it.
    pub fn reserved(self) -> bool {
        self != Kw::None && self.class() == Class::Reserved
    }

    /// Reserved by SQLite, whose other keywords may all be names.
    pub fn sqlite_reserved(self) -> bool {
        use Kw::*;
        matches!(
            self,
            All | Alter
                | And
                | As
                | Between
                | Case
                | Check
                | Collate
                | Commit
                | Constraint
                | Create
                | Default
                | Deferrable
                | Delete
                | Distinct
                | Drop
                | Else
                | Escape
                | Except
                | Exists
                | Foreign
                | From
                | Group
                | Having
                | In
                | Index
                | Insert
                | Intersect
                | Into
                | Is
                | Isnull
                | Join
                | Limit
                | Not
                | Nothing
                | Notnull
                | Null
                | On
                | Or
                | Order
                | Primary
                | References
                | Returning
                | Select
                | Set
                | Table
                | Then
                | To
                | Transaction
                | Union
                | Unique
                | Update
                | Using
                | Values
                | When
                | Where
        )
    }

    /// Means something inside SQLite's expressions.
    pub fn in_sqlite(self) -> bool {
        use Kw::*;
        self.sqlite_reserved()
            || matches!(
                self,
                Like | Glob
                    | Regexp
                    | Match
                    | Cast
                    | Over
                    | Filter
                    | True
                    | False
                    | End
                    | By
                    | Desc
                    | Asc
                    | Offset
                    | Window
                    | With
                    | CurrentDate
                    | CurrentTime
                    | CurrentTimestamp
                    | Partition
            )
    }

    /// May be the name of a table, column or alias without `AS`.
    pub fn can_name(self) -> bool {
        self == Kw::None || matches!(self.class(), Class::Free | Class::Column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_finds_itself_in_any_case() {
        for (index, (text, kw, class)) in WORDS.iter().enumerate() {
            assert!(text.len() <= LONGEST, "{text}");
            assert_eq!(*kw as usize, index + 1);
            assert_eq!(Kw::of(text.as_bytes()), *kw);
            assert_eq!(Kw::of(text.to_uppercase().as_bytes()), *kw);
            assert_eq!(kw.class(), *class);
        }
        assert_eq!(Kw::of(b"users"), Kw::None);
        assert_eq!(Kw::of(b""), Kw::None);
    }
}
