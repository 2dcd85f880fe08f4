//! What SQLite's authorizer sees and forbids.
//!
//! It is asked while a statement is prepared, for views, triggers and cascades
//! too. So it is the oracle for what a statement really touches, and the place
//! where the ways out of the database are closed whatever a policy says.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::model::Access;

/// One table or view a statement touches, by whatever way it gets there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// Schema in PostgreSQL's words: `public`, `pg_temp`, `pg_catalog`, `information_schema`.
    pub schema: &'static str,
    /// Name, lower case.
    pub name: String,
    /// What is done.
    pub access: Access,
}

/// Everything a statement touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Tables and views, each once.
    pub touches: Vec<Touch>,
    /// Functions called, lower case, each once.
    pub functions: Vec<String>,
    /// Changes definitions.
    pub schema: bool,
}

impl Reach {
    fn touch(&mut self, database: Option<&str>, name: &str, access: Access) {
        let schema = match database {
            Some("temp") => "pg_temp",
            Some("pg_catalog") => "pg_catalog",
            Some("information_schema") => "information_schema",
            _ => "public",
        };
        let name = name.to_ascii_lowercase();
        match self
            .touches
            .iter_mut()
            .find(|t| t.schema == schema && t.name == name)
        {
            Some(known) => known.access |= access,
            None => self.touches.push(Touch {
                schema,
                name,
                access,
            }),
        }
    }

    fn call(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if !self.functions.contains(&name) {
            self.functions.push(name);
        }
    }

    /// Tables whose rows or definitions change.
    pub fn changed(&self) -> impl Iterator<Item = &Touch> {
        self.touches
            .iter()
            .filter(|t| t.access.intersects(Access::CHANGE))
    }
}

/// Whose statement is being prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The gate's own: everything goes.
    Own,
    /// A client's that changes rows. DELETE is counted row by row.
    Rows,
    /// A client's other statement.
    Other,
}

#[derive(Default)]
struct State {
    mode: Option<Mode>,
    reach: Reach,
    denied: Option<String>,
}

/// Handle to the authorizer of one connection.
#[derive(Clone, Default)]
pub struct Guard(Arc<Mutex<State>>);

impl Guard {
    /// Installs the authorizer.
    pub fn install(connection: &Connection) -> Guard {
        let guard = Guard::default();
        let seen = guard.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            seen.authorize(&context)
        }));
        guard
    }

    /// Runs something as `mode`; the gate's own mode before and after.
    pub fn with<T>(&self, mode: Mode, run: impl FnOnce() -> T) -> T {
        let before = self.lock().mode.replace(mode);
        let result = run();
        self.lock().mode = before;
        result
    }

    /// Forgets what was seen.
    pub fn begin(&self) {
        let mut state = self.lock();
        state.reach = Reach::default();
        state.denied = None;
    }

    /// What was seen since `begin`, and the action that was forbidden, if one was.
    pub fn take(&self) -> (Reach, Option<String>) {
        let mut state = self.lock();
        (std::mem::take(&mut state.reach), state.denied.take())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorize(&self, context: &AuthContext<'_>) -> Authorization {
        let mut state = self.lock();
        let mode = state.mode.unwrap_or(Mode::Own);
        if mode == Mode::Own {
            return Authorization::Allow;
        }
        if let Some(reason) = forbidden(context) {
            state.denied.get_or_insert(reason);
            return Authorization::Deny;
        }
        observe(&mut state.reach, context);
        let delete = matches!(context.action, AuthAction::Delete { .. });
        // "Ignore" lets the DELETE go on but forbids SQLite to drop all rows at
        // once, which would count none of them. For DROP it would mean "do nothing".
        if delete && mode == Mode::Rows {
            Authorization::Ignore
        } else {
            Authorization::Allow
        }
    }
}

/// Reading pragmas, with or without an argument.
const PRAGMAS: &[&str] = &[
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "foreign_key_check",
    "integrity_check",
    "quick_check",
    "database_list",
    "collation_list",
    "function_list",
    "module_list",
    "pragma_list",
    "compile_options",
];

/// Pragmas that read when they have no value and change something when they have one.
const PRAGMAS_WITHOUT_VALUE: &[&str] = &[
    "user_version",
    "schema_version",
    "application_id",
    "page_count",
    "page_size",
    "freelist_count",
    "encoding",
    "journal_mode",
    "foreign_keys",
    "cache_size",
    "synchronous",
    "auto_vacuum",
    "busy_timeout",
    "data_version",
    "recursive_triggers",
    "defer_foreign_keys",
];

fn forbidden(context: &AuthContext<'_>) -> Option<String> {
    match context.action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some("ATTACH and DETACH".into()),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => {
            let name = pragma_name.to_ascii_lowercase();
            let name = name.as_str();
            let reads = PRAGMAS.contains(&name)
                || pragma_value.is_none() && PRAGMAS_WITHOUT_VALUE.contains(&name);
            (!reads).then(|| format!("PRAGMA {name}"))
        }
        AuthAction::Function { function_name } => {
            let name = function_name.to_ascii_lowercase();
            [
                "load_extension",
                "writefile",
                "readfile",
                "edit",
                "fts3_tokenizer",
                "portcullis_fill",
            ]
            .contains(&name.as_str())
            .then(|| format!("function {name}"))
        }
        AuthAction::CreateVtable { module_name, .. } => {
            let name = module_name.to_ascii_lowercase();
            let known = ["fts3", "fts4", "fts5", "rtree", "rtree_i32"].contains(&name.as_str());
            (!known).then(|| format!("virtual tables of module {name}"))
        }
        AuthAction::Unknown { code, .. } => Some(format!("action {code}")),
        _ => catalog_change(context),
    }
}

/// The catalog is the gate's own and only read.
fn catalog_change(context: &AuthContext<'_>) -> Option<String> {
    let catalog = matches!(
        context.database_name,
        Some("pg_catalog" | "information_schema")
    );
    let reads = matches!(
        context.action,
        AuthAction::Read { .. }
            | AuthAction::Select
            | AuthAction::Function { .. }
            | AuthAction::Recursive
    );
    (catalog && !reads).then(|| "changing the system catalog".into())
}

fn observe(reach: &mut Reach, context: &AuthContext<'_>) {
    let database = context.database_name;
    match context.action {
        AuthAction::Read { table_name, .. } => reach.touch(database, table_name, Access::SELECT),
        AuthAction::Insert { table_name } => reach.touch(database, table_name, Access::INSERT),
        AuthAction::Update { table_name, .. } => reach.touch(database, table_name, Access::UPDATE),
        AuthAction::Delete { table_name } => reach.touch(database, table_name, Access::DELETE),
        AuthAction::CreateTable { table_name } | AuthAction::CreateTempTable { table_name } => {
            reach.define(database, table_name, Access::CREATE);
        }
        AuthAction::CreateView { view_name } | AuthAction::CreateTempView { view_name } => {
            reach.define(database, view_name, Access::CREATE);
        }
        AuthAction::CreateVtable { table_name, .. } => {
            reach.define(database, table_name, Access::CREATE)
        }
        AuthAction::DropTable { table_name }
        | AuthAction::DropTempTable { table_name }
        | AuthAction::DropVtable { table_name, .. } => {
            reach.define(database, table_name, Access::DROP)
        }
        AuthAction::DropView { view_name } | AuthAction::DropTempView { view_name } => {
            reach.define(database, view_name, Access::DROP);
        }
        AuthAction::AlterTable {
            database_name,
            table_name,
        } => {
            reach.define(Some(database_name), table_name, Access::ALTER);
        }
        AuthAction::CreateIndex { table_name, .. }
        | AuthAction::CreateTempIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::DropTempIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::CreateTempTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::DropTempTrigger { table_name, .. } => {
            reach.define(database, table_name, Access::ALTER)
        }
        AuthAction::Analyze { table_name } => reach.touch(database, table_name, Access::OTHER),
        AuthAction::Function { function_name } => reach.call(function_name),
        _ => {}
    }
}

impl Reach {
    fn define(&mut self, database: Option<&str>, name: &str, access: Access) {
        self.schema = true;
        self.touch(database, name, access);
    }
}
