//! Where in its sources a server says that a relation is not there.
//!
//! File, line and routine stand in every error. The lines move with every
//! release, so they are learned from the server that is being imitated.

use std::borrow::Cow;

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the source file.
    pub file: Cow<'static, str>,
    /// Line in it.
    pub line: Cow<'static, str>,
    /// The function.
    pub routine: Cow<'static, str>,
}

/// All places at which a missing relation is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// In a query; a name with its schema is noticed elsewhere than one without.
    pub query: [Place; 2],
    /// In a statement that is no query.
    pub utility: [Place; 2],
    /// In DROP TABLE.
    pub drop: Place,
    /// Where a function may not be called.
    pub denied: Place,
}

impl Place {
    const fn of(file: &'static str, line: &'static str, routine: &'static str) -> Place {
        Place {
            file: Cow::Borrowed(file),
            line: Cow::Borrowed(line),
            routine: Cow::Borrowed(routine),
        }
    }
}

impl Default for Places {
    /// Those of PostgreSQL 15.
    fn default() -> Self {
        let query = Place::of("parse_relation.c", "1392", "parserOpenTable");
        let utility = Place::of("namespace.c", "433", "RangeVarGetRelidExtended");
        Places {
            query: [query.clone(), query],
            utility: [utility.clone(), utility],
            drop: Place::of("tablecmds.c", "1258", "DropErrorMsgNonExistent"),
            denied: Place::of("aclchk.c", "3485", "aclcheck_error"),
        }
    }
}
