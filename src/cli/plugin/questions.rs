//! The questions of the interface by name, for a policy that runs in another process.

use serde_json::{Value, json};

use crate::policy::{Ask, Fault};

use super::host::Arguments;

/// The answer; or the fault of the call, with the empty answer it goes on with.
pub(super) type Answered = Result<Value, (Fault, Value)>;

/// Asks one question. An error is a question that does not exist.
pub(super) fn ask(ask: &mut Ask, name: &str, with: &Arguments<'_>) -> Result<Answered, String> {
    if let Some(answered) = about_statement(ask, name, with)? {
        return Ok(answered);
    }
    if let Some(answered) = about_surroundings(ask, name, with)? {
        return Ok(answered);
    }
    if let Some(done) = verdict(ask, name, with)? {
        return Ok(done.map(Value::from).map_err(|fault| (fault, Value::Null)));
    }
    Err(format!(
        "this portcullis does not know the question `{name}`"
    ))
}

fn about_statement(
    ask: &mut Ask,
    name: &str,
    with: &Arguments<'_>,
) -> Result<Option<Answered>, String> {
    let number = |index| with.number(index);
    Ok(Some(match name {
        "dialect" => Ok(json!(ask.dialect())),
        "predicate" => Ok(json!(ask.predicate())),
        "relations" => Ok(json!(ask.relations())),
        "relation_at" => match ask.relation_at(number(0)?) {
            Ok(view) => Ok(json!([view.schema, view.name, view.access, view.via])),
            Err(fault) => Err((fault, json!([0, 0, 0, 0]))),
        },
        "find" => index(ask.find(number(0)?, with.large(1)?, number(2)?)),
        "find_access" => index(Ok(ask.find_access(with.large(0)?, number(1)?))),
        "pattern" => index(ask.pattern(number(0)?, number(1)?)),
        "find_column" => index(ask.find_column(number(0)?, number(1)?)),
        "find_column_use" => index(ask.find_column_use(number(0)?, with.large(1)?, number(2)?)),
        "find_unlisted_function" => index(ask.find_unlisted_function(number(0)?, number(1)?)),
        "function_name" => text(ask.function_name(number(0)?)),
        "find_setting" => index(ask.find_setting(number(0)?, number(1)?)),
        "setting_value" => ask
            .setting_value(number(0)?)
            .map(|value| json!(value.as_deref()))
            .map_err(|fault| (fault, Value::Null)),
        "find_function" => index(ask.find_function(number(0)?, number(1)?)),
        "name" => text(ask.name(number(0)?)),
        "normalized" => Ok(json!(&*ask.normalized())),
        "limit" => Ok(json!(
            ask.limit()
                .and_then(|limit| i64::try_from(limit).ok())
                .unwrap_or(-1)
        )),
        "shape_in" => Ok(json!(ask.shape_in(&with.text(0)?))),
        "literals" => Ok(json!(ask.literals())),
        "literal" => text(ask.literal(number(0)?)),
        "parameters" => index(Ok(ask.parameters())),
        "parameter" => ask
            .parameter(number(0)?)
            .map(|value| json!(value))
            .map_err(|fault| (fault, Value::Null)),
        "text" => Ok(json!(&*ask.text())),
        "mentions" => index(ask.mentions(number(0)?)),
        "features" => Ok(json!(ask.features())),
        "row_limit_at_most" => Ok(json!(ask.row_limit_at_most(with.large(0)?))),
        _ => return Ok(None),
    }))
}

fn about_surroundings(
    ask: &mut Ask,
    name: &str,
    with: &Arguments<'_>,
) -> Result<Option<Answered>, String> {
    Ok(Some(match name {
        "user" => Ok(json!(ask.user())),
        "database" => Ok(json!(ask.database())),
        "user_in" => index(ask.user_in(with.number(0)?)),
        "address_in" => index(ask.address_in(with.number(0)?)),
        "address" => Ok(json!(ask.address())),
        "role" => Ok(json!(ask.role())),
        "application" => Ok(json!(ask.application())),
        "transaction" => Ok(json!(ask.transaction())),
        "setting" => Ok(json!(ask.setting(&with.text(0)?).as_deref())),
        "in_window" => index(ask.in_window(with.number(0)?)),
        "next_edge" => text(ask.next_edge(with.number(0)?)),
        "before" => Ok(json!(ask.before(with.large(0)?))),
        "counter" => Ok(json!(ask.counter(&with.text(0)?))),
        "measure" => ask
            .plan_measure(with.number(0)?)
            // JSON has no infinity.
            .map(|measure| json!(measure.clamp(f64::MIN, f64::MAX)))
            .map_err(|fault| (fault, json!(0.0))),
        "plan_json" => text(ask.plan_json()),
        "event_number" => ask
            .event_number(with.number(0)?)
            .map(Value::from)
            .map_err(|fault| (fault, json!(0))),
        "event_text" => text(ask.event_text(with.number(0)?)),
        _ => return Ok(None),
    }))
}

fn verdict(
    ask: &mut Ask,
    name: &str,
    with: &Arguments<'_>,
) -> Result<Option<Result<(), Fault>>, String> {
    let number = |index| with.number(index);
    Ok(Some(match name {
        "reason" => ask.reason(&with.text(0)?, &with.text(1)?, &with.text(2)?),
        "disguise" => ask.disguise(number(0)?),
        "notice" => ask.notice(&with.text(0)?, &with.text(1)?),
        "alert" => ask.alert(&with.text(0)?, number(1)?),
        "rows_changed_max" => {
            ask.rows_changed_max(u32::try_from(with.signed(0)?).ok(), with.large(1)?)
        }
        "rows_returned_max" => ask.rows_returned_max(with.large(0)?),
        "table_rows_max" => {
            ask.table_rows_max(number(0)?, number(1)?, with.signed(2)?, with.signed(3)?)
        }
        "rate" => ask.rate(&with.text(0)?, with.large(1)?, number(2)?, with.large(3)?),
        "plan_max" => ask.plan_max(number(0)?, with.float(1)?),
        "want_plan" => ask.want_plan(),
        "preview" => ask.preview(number(0)?),
        "dry_run" => ask.dry_run(),
        "read_only" => ask.read_only(),
        "backup" => ask.backup(number(0)?),
        "confirm" => ask.confirm(number(0)?),
        "statement_timeout" => ask.statement_timeout(number(0)?),
        "lock_timeout" => ask.lock_timeout(number(0)?),
        "mask" => ask.mask(number(0)?, number(1)?),
        "learn" => ask.learn(&with.text(0)?),
        "response_column" => ask.column(&with.text(0)?, number(1)?),
        "response_row" => ask.row(with.values(0)?),
        _ => return Ok(None),
    }))
}

fn index(answer: Result<Option<u32>, Fault>) -> Answered {
    match answer {
        Ok(index) => Ok(json!(index.map_or(-1, i64::from))),
        Err(fault) => Err((fault, json!(-1))),
    }
}

fn text(answer: Result<std::sync::Arc<str>, Fault>) -> Answered {
    match answer {
        Ok(text) => Ok(json!(&*text)),
        Err(fault) => Err((fault, json!(""))),
    }
}
