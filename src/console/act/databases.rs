//! Which databases a command means.

use std::sync::Arc;

use crate::config::console::CONSOLE_NAMES;
use crate::console::Console;
use crate::model::UserMessage;

/// All that are configured, and those that are in use although they are not any more.
pub(super) fn all(console: &Console) -> Vec<Arc<str>> {
    let views = console.plant.backends.load().views();
    views.into_iter().map(|one| one.name).collect()
}

/// The one with this name, or all.
pub(super) fn chosen(
    console: &Console,
    name: Option<&str>,
    what: &str,
) -> Result<Vec<Arc<str>>, UserMessage> {
    let all = all(console);
    let Some(name) = name else {
        return Ok(all);
    };
    if CONSOLE_NAMES.contains(&name) {
        let message = format!("cannot {what} admin db: {name}");
        return Err(UserMessage::error("55000", message));
    }
    let found = all.iter().find(|known| ***known == *name).cloned();
    found.map(|name| vec![name]).ok_or_else(|| {
        let message = format!("no such database: {name}");
        let near = crate::config::nearest(name, all.iter().map(|known| &**known));
        let error = UserMessage::error("3D000", message);
        match near {
            Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
            None => error,
        }
    })
}
