//! Fields and truncation of dates and times.

use rusqlite::{Connection, Result};

use super::{add, failure, text};

pub(super) fn register(connection: &Connection) -> Result<()> {
    for name in ["pg_extract", "date_part"] {
        add(connection, name, 2, |c| {
            let (Some(field), Some(moment)) = (text(c, 0)?, text(c, 1)?) else {
                return Ok(None);
            };
            field_of(&field.to_ascii_lowercase(), &moment).map(Some)
        })?;
    }
    add(connection, "pg_date", 1, |c| match text(c, 0)? {
        Some(text) => moment(&text).map(|at| Some(at.date().to_string())),
        None => Ok(None),
    })?;
    add(connection, "date_trunc", 2, |c| {
        let (Some(field), Some(moment)) = (text(c, 0)?, text(c, 1)?) else {
            return Ok(None);
        };
        truncated(&field.to_ascii_lowercase(), &moment).map(Some)
    })
}

fn moment(text: &str) -> Result<jiff::civil::DateTime> {
    let plain = text.trim().trim_end_matches('Z');
    let plain = plain
        .strip_suffix("+00:00")
        .or_else(|| plain.strip_suffix("+00"))
        .unwrap_or(plain);
    plain.parse().map_err(|_| {
        failure(format!(
            "invalid input syntax for type timestamp: \"{text}\""
        ))
    })
}

fn field_of(field: &str, text: &str) -> Result<f64> {
    let at = moment(text)?;
    let seconds = f64::from(at.second()) + f64::from(at.subsec_nanosecond()) / 1e9;
    Ok(match field {
        "year" => f64::from(at.year()),
        "month" => f64::from(at.month()),
        "day" => f64::from(at.day()),
        "hour" => f64::from(at.hour()),
        "minute" => f64::from(at.minute()),
        "second" => seconds,
        "dow" => f64::from(at.weekday().to_sunday_zero_offset()),
        "isodow" => f64::from(at.weekday().to_monday_one_offset()),
        "doy" => f64::from(at.day_of_year()),
        "quarter" => f64::from((at.month() + 2) / 3),
        "week" => f64::from(at.date().iso_week_date().week()),
        "epoch" => {
            let zoned = at
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|e| failure(e.to_string()))?;
            zoned.timestamp().as_microsecond() as f64 / 1e6
        }
        other => return Err(failure(format!("unit \"{other}\" is not supported"))),
    })
}

fn truncated(field: &str, text: &str) -> Result<String> {
    let at = moment(text)?;
    let day = at.date();
    let midnight = day.at(0, 0, 0, 0);
    let cut = match field {
        "year" => day.first_of_year().at(0, 0, 0, 0),
        "month" => day.first_of_month().at(0, 0, 0, 0),
        "day" => midnight,
        "hour" => day.at(at.hour(), 0, 0, 0),
        "minute" => day.at(at.hour(), at.minute(), 0, 0),
        "second" => day.at(at.hour(), at.minute(), at.second(), 0),
        other => return Err(failure(format!("unit \"{other}\" is not supported"))),
    };
    Ok(cut.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
