//! Columns that only some may read.
//!
//! The facts name the columns of a statement, not the table of each: where a
//! guarded table stands in a statement, a column of that name counts, whoever
//! it belongs to. What the catalog shows behind a view or function counts too.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct ColumnGuard {
    guards: Vec<Guard>,
    all: Names,
    statistics: Names,
    users: Names,
    roles: Vec<Symbol>,
    conditions: bool,
    behind: Behind,
    action: Action,
}

/// One guarded column, or some of one name pattern.
#[derive(Debug)]
struct Guard {
    written: String,
    table: Names,
    column: Names,
    symbol: Symbol,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    columns: Vec<String>,
    users: Vec<String>,
    roles: Vec<String>,
    conditions: bool,
    behind: Behind,
    action: Action,
}

/// What is done about a guarded table that only the catalog shows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Behind {
    #[default]
    Refuse,
    Allow,
}

/// What is done about a guarded column in a result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    #[default]
    Refuse,
    Mask,
}

/// The method of masking that shows nothing: NULL.
const NULL: u32 = 0;

/// Where PostgreSQL shows the most common values of every column.
const STATISTICS: [&str; 5] = [
    "pg_stats",
    "pg_statistic",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_statistic_ext_data",
];

impl Policy for ColumnGuard {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        Ok(ColumnGuard {
            guards: guards(&settings, setup),
            all: setup.names("", &["\"*\"".to_owned()]),
            statistics: setup.names("", &STATISTICS.map(String::from)),
            users: setup.names("/users", &settings.users),
            roles: settings
                .roles
                .iter()
                .map(|role| setup.intern(role))
                .collect(),
            conditions: settings.conditions,
            behind: settings.behind,
            action: settings.action,
        })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        let mut masks = Vec::new();
        let mut refused = None;
        for guard in &self.guards {
            match self.used(guard, statement) {
                Some(Use::Result) if self.action == Action::Mask => masks.push(guard.symbol),
                Some(found) => {
                    refused = Some(self.refuse(guard, found));
                    break;
                }
                None => {}
            }
        }
        if refused.is_none()
            && !self.guards.is_empty()
            && statement.find(self.statistics, Access::SELECT).is_some()
        {
            let message = "the statistics of the server show values of guarded columns";
            refused = Some(
                Verdict::refuse("statistics", message)
                    .hint("Ask for the statistics you need as an operator."),
            );
        }
        if (refused.is_none() && masks.is_empty()) || self.may_read(&statement.client()) {
            return Verdict::pass();
        }
        refused.unwrap_or_else(|| {
            masks.into_iter().fold(Verdict::pass(), |verdict, column| {
                verdict.mask(column, NULL)
            })
        })
    }
}

/// What a statement does with a guarded column.
enum Use {
    /// It is in a result, or on the way into one.
    Result,
    /// It decides which rows.
    Condition,
    /// A view, function or trigger reads its table.
    Behind,
    /// Its table is given another shape, under which it would have another name.
    Definition,
    /// Its table is named in a statement that cannot be read.
    Unread,
}

impl ColumnGuard {
    fn used(&self, guard: &Guard, statement: &Statement) -> Option<Use> {
        let mut named = false;
        for table in statement.find_all(guard.table, Access::ANY) {
            if table.via == Via::Catalog {
                if self.behind == Behind::Refuse && table.access.contains(Access::SELECT) {
                    return Some(Use::Behind);
                }
                continue;
            }
            named = true;
            if table.access.contains(Access::ALTER) {
                return Some(Use::Definition);
            }
        }
        if !named {
            return None;
        }
        if statement.is_opaque() {
            return Some(Use::Unread);
        }
        let uses =
            |how| statement.uses_column(guard.column, how) || statement.uses_column(self.all, how);
        // A plan returns no values; what it estimates for a condition comes from them.
        if !statement.is_plan_only() && uses(ColumnUses::VALUE) {
            return Some(Use::Result);
        }
        (!self.conditions && uses(ColumnUses::CONDITION)).then_some(Use::Condition)
    }

    fn refuse(&self, guard: &Guard, found: Use) -> Verdict {
        let column = &guard.written;
        match found {
            Use::Result => Verdict::refuse("read", format!("{column} may not be read here"))
                .hint("Name the columns you need, without it; `*` and whole rows hold it."),
            Use::Behind => {
                let message = format!(
                    "{column} may not be read here, and a view, function or trigger of the statement reads its table"
                );
                Verdict::refuse("read", message)
                    .hint("Read the table itself, naming the columns you need.")
            }
            Use::Condition => {
                let message = format!("{column} may not decide which rows are read or changed");
                Verdict::refuse("condition", message)
                    .hint("Choose, join and order rows by other columns.")
            }
            Use::Definition => {
                let message = format!("the table of {column} may not be altered here");
                Verdict::refuse("definition", message).hint(
                    "Put the change into a migration that runs as a user who may read the column.",
                )
            }
            Use::Unread => {
                let message =
                    format!("the statement cannot be read and names the table of {column}");
                Verdict::refuse("unread", message).hint("Write it in the grammar of the database.")
            }
        }
    }

    fn may_read(&self, client: &Client) -> bool {
        client.is_in(self.users) || (!self.roles.is_empty() && self.roles.contains(&client.role()))
    }
}

fn guards(settings: &Settings, setup: &mut Setup) -> Vec<Guard> {
    let parts: Vec<(String, String)> = settings
        .columns
        .iter()
        .enumerate()
        .filter_map(|(index, written)| {
            let parts = split(written);
            let wrong = match &parts {
                None => Some("names no table; write `table.column` or `schema.table.column`"),
                Some((_, column))
                    if settings.action == Action::Mask && column.contains(['*', '?']) =>
                {
                    Some("is a pattern of columns, which cannot be masked; name each column")
                }
                Some(_) => None,
            };
            if let Some(wrong) = wrong {
                let message = format!("`{written}` {wrong}");
                setup.issue(Issue::new(format!("/columns/{index}"), message));
            }
            parts
        })
        .collect();
    let (tables, columns): (Vec<String>, Vec<String>) = parts.iter().cloned().unzip();
    if setup.names("/columns", &tables).is_empty() || setup.names("/columns", &columns).is_empty() {
        return Vec::new();
    }
    parts
        .into_iter()
        .map(|(table, column)| Guard {
            written: format!("{table}.{column}"),
            symbol: setup.intern(&unquoted(&column)),
            table: setup.names("/columns", &[table]),
            column: setup.names("/columns", &[column]),
        })
        .collect()
}

/// At the last dot that stands outside quotes.
fn split(written: &str) -> Option<(String, String)> {
    let mut quoted = false;
    let mut dot = None;
    for (index, letter) in written.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '.' if !quoted => dot = Some(index),
            _ => {}
        }
    }
    let (table, column) = written.split_at(dot?);
    let column = column.get(1..)?;
    (!table.trim().is_empty() && !column.trim().is_empty())
        .then(|| (table.trim().to_owned(), column.trim().to_owned()))
}

fn unquoted(name: &str) -> String {
    match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(exact) => exact.replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    }
}

portcullis_sdk::export!(ColumnGuard);
