//! Dates and times: text in SQLite, microseconds since 2000 on the wire.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};

use crate::backend::rows::Type;

/// 2000-01-01 in seconds since 1970.
const EPOCH: i64 = 946_684_800;

/// `YYYY-MM-DD[ T]hh:mm[:ss[.f]]` with an offset or without; a date alone is its midnight.
fn parse(text: &str) -> Option<(DateTime, i64)> {
    let text = text.trim();
    if let Ok(date) = text.parse::<Date>()
        && text.len() <= 10
    {
        return Some((date.at(0, 0, 0, 0), 0));
    }
    let (plain, offset) = split_offset(text)?;
    Some((plain.parse().ok()?, offset))
}

/// The offset in seconds, taken off the end of the text.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(plain) = text
        .strip_suffix(['Z', 'z'])
        .or_else(|| text.strip_suffix(" UTC"))
    {
        return Some((plain, 0));
    }
    let clock = text.find(':')?;
    let Some(at) = text[clock..].find(['+', '-']).map(|at| at + clock) else {
        return Some((text, 0));
    };
    let mut parts = text[at + 1..].split(':');
    let first = parts.next()?;
    let (hours, packed) = first.split_at_checked(2)?;
    let minutes = if packed.is_empty() {
        parts.next().unwrap_or("0")
    } else {
        packed
    };
    let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    Some((text[..at].trim_end(), sign * seconds))
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let (moment, offset) = parse(text)?;
    let zoned = moment.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    zoned
        .timestamp()
        .checked_sub(SignedDuration::from_secs(offset))
        .ok()
}

/// Microseconds since 2000-01-01.
pub fn micros(text: &str) -> Option<i64> {
    timestamp(text)?
        .as_microsecond()
        .checked_sub(EPOCH * 1_000_000)
}

/// Days since 2000-01-01.
pub fn days(text: &str) -> Option<i32> {
    let date = parse(text)?.0.date();
    let first = Date::new(2000, 1, 1).ok()?;
    Some(date.since(first).ok()?.get_days())
}

/// Microseconds since midnight.
pub fn time_micros(text: &str) -> Option<i64> {
    let time: Time = text.trim().parse().ok()?;
    Some(time.duration_since(Time::midnight()).as_micros() as i64)
}

fn show(moment: DateTime) -> String {
    if moment.subsec_nanosecond() == 0 {
        return moment.strftime("%Y-%m-%d %H:%M:%S").to_string();
    }
    moment
        .strftime("%Y-%m-%d %H:%M:%S%.6f")
        .to_string()
        .trim_end_matches('0')
        .to_owned()
}

fn show_as(moment: DateTime, kind: Type) -> String {
    match kind.oid {
        1082 => moment.date().to_string(),
        // SQLite's own functions read an offset only in full.
        1184 => format!("{}+00:00", show(moment)),
        _ => show(moment),
    }
}

/// From microseconds since 2000-01-01.
pub fn from_micros(micros: i64, kind: Type) -> Option<String> {
    let since_1970 = micros.checked_add(EPOCH * 1_000_000)?;
    let moment = Timestamp::from_microsecond(since_1970).ok()?;
    Some(show_as(jiff::tz::TimeZone::UTC.to_datetime(moment), kind))
}

/// From seconds since 1970, as some schemas store moments.
pub fn from_unix(seconds: i64, kind: Type) -> Option<String> {
    let moment = Timestamp::from_second(seconds).ok()?;
    Some(show_as(jiff::tz::TimeZone::UTC.to_datetime(moment), kind))
}

/// From days since 2000-01-01.
pub fn from_days(days: i32) -> Option<String> {
    let first = Date::new(2000, 1, 1).ok()?;
    let date = first
        .checked_add(SignedDuration::from_hours(i64::from(days) * 24))
        .ok()?;
    Some(date.to_string())
}

/// From microseconds since midnight.
pub fn from_time_micros(micros: i64) -> Option<String> {
    let time = Time::midnight()
        .checked_add(SignedDuration::from_micros(micros))
        .ok()?;
    let text = time.strftime("%H:%M:%S%.6f").to_string();
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// A date as it is stored.
pub fn date_text(text: &str) -> Option<String> {
    Some(parse(text)?.0.date().to_string())
}

/// A moment as it is stored: without an offset for timestamp, in UTC for timestamptz.
pub fn stored(text: &str, kind: Type) -> Option<String> {
    if kind.oid == 1184 {
        return Some(show_as(
            jiff::tz::TimeZone::UTC.to_datetime(timestamp(text)?),
            kind,
        ));
    }
    Some(show_as(parse(text)?.0, kind))
}

/// A stored moment as timestamptz shows it, in UTC; text that is none stays as it is.
pub fn with_zone(text: &str) -> String {
    match stored(text, Type::TIMESTAMPTZ) {
        Some(full) => full.strip_suffix(":00").unwrap_or(&full).to_owned(),
        None => text.to_owned(),
    }
}
