//! What operators, and their drivers, say.

use crate::model::UserMessage;

use super::show::Show;

/// Longest text of a request; a command is a line.
const TEXT_BYTES_MAX: usize = 8 * 1024;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// SHOW something of ours.
    Show(Show),
    /// SHOW a setting that drivers ask for.
    Setting(&'static str, String),
    /// Something drivers say by themselves; answered with this tag.
    Courtesy(&'static str),
    /// BEGIN.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SET key = value.
    Set(String, String),
    /// RELOAD.
    Reload,
    /// PAUSE [db].
    Pause(Option<String>),
    /// RESUME [db].
    Resume(Option<String>),
    /// DISABLE db.
    Disable(String),
    /// ENABLE db.
    Enable(String),
    /// RECONNECT [db].
    Reconnect(Option<String>),
    /// KILL [db].
    Kill(Option<String>),
    /// KILL_CLIENT id.
    KillClient(u64),
    /// SUSPEND.
    Suspend,
    /// WAIT_CLOSE [db].
    WaitClose(Option<String>),
    /// SHUTDOWN.
    Shutdown(Stop),
}

/// How the gate is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nobody new; it ends when the last client has left.
    Clients,
    /// Nobody new; clients leave when their transactions have ended.
    Servers,
    /// At once.
    Now,
}

impl Command {
    /// Whether somebody who may only look may say it.
    pub(super) fn only_looks(&self) -> bool {
        matches!(
            self,
            Command::Show(_)
                | Command::Setting(..)
                | Command::Courtesy(_)
                | Command::Begin
                | Command::Commit
                | Command::Rollback
        )
    }
}

/// The commands of one request, separated by semicolons.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, UserMessage> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(UserMessage::error("54000", "the command is too long"));
    }
    let words = words(text).ok_or_else(|| invalid(text))?;
    words
        .split(|word| *word == Word::Sign(';'))
        .filter(|command| !command.is_empty())
        .map(|command| one(command).ok_or_else(|| invalid(text)).flatten())
        .collect()
}

fn invalid(text: &str) -> UserMessage {
    let shown: String = text.chars().take(200).collect();
    UserMessage::error(
        "42601",
        format!("invalid command '{shown}', use SHOW HELP;"),
    )
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// Letters, digits, underscores; also dots and hyphens inside.
    Plain(String),
    /// In double quotes.
    Name(String),
    /// In single quotes.
    Text(String),
    Sign(char),
}

/// None: a quote without an end, or a character that has no business here.
fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            c if c.is_whitespace() => {}
            '"' | '\'' => {
                let mut inside = String::new();
                loop {
                    let next = rest.next()?;
                    if next == first && rest.next_if_eq(&first).is_none() {
                        break;
                    }
                    inside.push(next);
                }
                words.push(if first == '"' {
                    Word::Name(inside)
                } else {
                    Word::Text(inside)
                });
            }
            '-' if rest.next_if_eq(&'-').is_some() => {
                while rest.next_if(|c| *c != '\n').is_some() {}
            }
            ';' | '=' | ',' | '(' | ')' | '*' => words.push(Word::Sign(first)),
            c if c.is_alphanumeric() || matches!(c, '_' | '-' | '$') => {
                let mut plain = String::from(c);
                let inside = |c: &char| {
                    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '$' | ':' | '/')
                };
                while let Some(next) = rest.next_if(inside) {
                    plain.push(next);
                }
                words.push(Word::Plain(plain));
            }
            _ => return None,
        }
    }
    Some(words)
}

/// None: nothing we know.
fn one(words: &[Word]) -> Option<Result<Command, UserMessage>> {
    let Some(Word::Plain(verb)) = words.first() else {
        return None;
    };
    let verb = verb.to_ascii_lowercase();
    let rest = &words[1..];
    let maybe = |make: fn(Option<String>) -> Command| match rest {
        [] => Some(Ok(make(None))),
        [name] => Some(Ok(make(Some(name_of(name)?)))),
        _ => None,
    };
    let needed = |make: fn(String) -> Command| match rest {
        [] => Some(Err(UserMessage::error("42601", "a database is required"))),
        [name] => Some(Ok(make(name_of(name)?))),
        _ => None,
    };
    let bare = |command: Command| rest.is_empty().then_some(Ok(command));
    match &*verb {
        "show" => show(rest).map(Ok),
        "select" => select(rest).map(Ok),
        "set" => set(rest).map(Ok),
        "reload" => bare(Command::Reload),
        "pause" => maybe(Command::Pause),
        "resume" => maybe(Command::Resume),
        "disable" => needed(Command::Disable),
        "enable" => needed(Command::Enable),
        "reconnect" => maybe(Command::Reconnect),
        "kill" => maybe(Command::Kill),
        "kill_client" => match rest {
            [Word::Plain(id)] => Some(id.parse().map(Command::KillClient).map_err(|_| {
                UserMessage::error("22023", "invalid client id supplied")
                    .hint("SHOW CLIENTS has it in the column `id`.")
            })),
            _ => None,
        },
        "suspend" => bare(Command::Suspend),
        "wait_close" => maybe(Command::WaitClose),
        "shutdown" => match rest {
            [] => Some(Ok(Command::Shutdown(Stop::Now))),
            [word] if is(word, "wait_for_clients") => Some(Ok(Command::Shutdown(Stop::Clients))),
            [word] if is(word, "wait_for_servers") => Some(Ok(Command::Shutdown(Stop::Servers))),
            _ => None,
        },
        "begin" | "start" => Some(Ok(Command::Begin)),
        "commit" | "end" => Some(Ok(Command::Commit)),
        "rollback" | "abort" => Some(Ok(Command::Rollback)),
        "discard" => Some(Ok(Command::Courtesy("DISCARD ALL"))),
        "deallocate" => Some(Ok(Command::Courtesy("DEALLOCATE"))),
        "reset" => Some(Ok(Command::Courtesy("RESET"))),
        "close" => Some(Ok(Command::Courtesy("CLOSE CURSOR"))),
        "unlisten" => Some(Ok(Command::Courtesy("UNLISTEN"))),
        _ => None,
    }
}

fn is(word: &Word, wanted: &str) -> bool {
    matches!(word, Word::Plain(plain) if plain.eq_ignore_ascii_case(wanted))
}

fn name_of(word: &Word) -> Option<String> {
    match word {
        Word::Plain(name) | Word::Name(name) => Some(name.clone()),
        Word::Text(_) | Word::Sign(_) => None,
    }
}

fn show(rest: &[Word]) -> Option<Command> {
    let plain: Vec<&str> = rest
        .iter()
        .map(|word| match word {
            Word::Plain(plain) | Word::Name(plain) => Some(plain.as_str()),
            Word::Text(_) | Word::Sign(_) => None,
        })
        .collect::<Option<_>>()?;
    let wanted = plain.join(" ").to_ascii_lowercase();
    if let Some(show) = Show::named(&wanted) {
        return Some(Command::Show(show));
    }
    let settings = [
        ("server_version", super::SERVER_VERSION),
        ("server_version_num", super::SERVER_VERSION_NUM),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("default_transaction_isolation", "read committed"),
        ("transaction_isolation", "read committed"),
        ("default_transaction_read_only", "off"),
        ("transaction_read_only", "off"),
        ("standard_conforming_strings", "on"),
        ("datestyle", "ISO"),
        ("intervalstyle", "postgres"),
        ("timezone", "GMT"),
        ("extra_float_digits", "1"),
        ("is_superuser", "off"),
        ("in_hot_standby", "off"),
        ("search_path", ""),
        ("max_identifier_length", "63"),
    ];
    let wanted = match &*wanted {
        "transaction isolation level" => "transaction_isolation",
        "time zone" => "timezone",
        other => other,
    };
    let (name, value) = settings.iter().find(|(name, _)| *name == wanted)?;
    Some(Command::Setting(name, (*value).to_owned()))
}

/// `SELECT version` means SHOW VERSION, as in PgBouncer; and what pools of
/// drivers say when they put a connection back.
fn select(rest: &[Word]) -> Option<Command> {
    match rest {
        [Word::Plain(_)] if !is(&rest[0], "1") => show(rest),
        [Word::Plain(one)] if one == "1" => Some(Command::Setting("?column?", "1".to_owned())),
        [Word::Plain(function), Word::Sign('('), Word::Sign(')')] => {
            let name = function.to_ascii_lowercase();
            match name.trim_start_matches("pg_catalog.") {
                "version" => Some(Command::Show(Show::Version)),
                "pg_advisory_unlock_all" => {
                    Some(Command::Setting("pg_advisory_unlock_all", String::new()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn set(rest: &[Word]) -> Option<Command> {
    let rest = match rest {
        [first, rest @ ..] if is(first, "session") || is(first, "local") => rest,
        all => all,
    };
    // SET SESSION CHARACTERISTICS AS TRANSACTION …, SET TRANSACTION …, SET TIME ZONE …
    if let [first, ..] = rest
        && (is(first, "characteristics") || is(first, "transaction") || is(first, "time"))
    {
        return Some(Command::Courtesy("SET"));
    }
    let [key, between, value @ ..] = rest else {
        return None;
    };
    if *between != Word::Sign('=') && !is(between, "to") {
        return None;
    }
    let values: Vec<&str> = value
        .iter()
        .filter(|word| **word != Word::Sign(','))
        .map(|word| match word {
            Word::Plain(value) | Word::Name(value) | Word::Text(value) => Some(value.as_str()),
            Word::Sign(_) => None,
        })
        .collect::<Option<_>>()?;
    if values.is_empty() {
        return None;
    }
    Some(Command::Set(
        name_of(key)?.to_ascii_lowercase(),
        values.join(","),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(text: &str) -> Command {
        let mut commands = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert_eq!(commands.len(), 1, "{text}");
        commands.remove(0)
    }

    #[test]
    fn commands_are_read_as_people_and_drivers_write_them() {
        let name = |name: &str| Some(name.to_owned());
        for (text, command) in [
            ("show pools", Command::Show(Show::Pools)),
            ("  SHOW\n\tPOOLS ; ", Command::Show(Show::Pools)),
            ("-- who\nSHOW CLIENTS;", Command::Show(Show::Clients)),
            ("pause", Command::Pause(None)),
            ("PAUSE \"My \"\"db\";", Command::Pause(name("My \"db"))),
            ("RESUME app-1", Command::Resume(name("app-1"))),
            ("KILL_CLIENT 7", Command::KillClient(7)),
            (
                "shutdown wait_for_clients",
                Command::Shutdown(Stop::Clients),
            ),
            (
                "SET extra_float_digits TO 3",
                Command::Set("extra_float_digits".into(), "3".into()),
            ),
            (
                "SET Log.Level = 'it''s'",
                Command::Set("log.level".into(), "it's".into()),
            ),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                Command::Courtesy("SET"),
            ),
            ("SELECT version()", Command::Show(Show::Version)),
            (
                "SHOW TRANSACTION ISOLATION LEVEL",
                Command::Setting("transaction_isolation", "read committed".into()),
            ),
        ] {
            assert_eq!(single(text), command, "{text}");
        }
    }

    #[test]
    fn what_it_does_not_know_is_an_error_that_says_where_to_look() {
        for text in [
            "DROP TABLE users",
            "SHOW users; DELETE FROM x",
            "PAUSE 'app'",
            "PAUSE a b",
            "SHOW \"pools",
            "select * from pg_class",
            "SHOW",
            "set x",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.code, "42601");
            assert!(error.message.contains("use SHOW HELP;"), "{text}");
        }
        assert_eq!(
            parse("ENABLE").expect_err("a name").message,
            "a database is required"
        );
        assert_eq!(parse("KILL_CLIENT x").expect_err("a number").code, "22023");
        assert_eq!(parse(&"x".repeat(10_000)).expect_err("long").code, "54000");
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(parse(" ;; -- hush"), Ok(Vec::new()));
    }
}
