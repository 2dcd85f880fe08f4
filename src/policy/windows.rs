//! Weekly time windows: `"Mon-Fri 08:00-18:00 Europe/Berlin"`.

use std::time::SystemTime;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Windows registered at `configure`, ready to ask.
#[derive(Debug, Clone)]
pub struct Windows {
    windows: Vec<Window>,
}

#[derive(Debug, Clone)]
struct Window {
    /// Monday is bit 0.
    days: u8,
    start: Minute,
    /// Not after `start`: ends on the next day.
    end: Minute,
    zone: TimeZone,
}

/// Minutes since midnight, 0 to 1440.
type Minute = u16;

impl Windows {
    /// Parses; the error names the window and says why.
    pub fn new<S: AsRef<str>>(specs: impl IntoIterator<Item = S>) -> Result<Windows, String> {
        let parse = |spec: S| {
            let spec = spec.as_ref();
            Window::parse(spec).map_err(|why| {
                format!("window `{spec}` {why}; write `Mon-Fri 08:00-18:00 Europe/Berlin`")
            })
        };
        Ok(Windows {
            windows: specs.into_iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// The first window that is open, and when the answer can change next.
    pub fn open_at(&self, now: SystemTime) -> (Option<u32>, Option<SystemTime>) {
        let Ok(now) = Timestamp::try_from(now) else {
            return (None, None);
        };
        let mut open = None;
        let mut edge: Option<Timestamp> = None;
        for (index, window) in self.windows.iter().enumerate() {
            let (inside, next) = window.at(now);
            if inside && open.is_none() {
                open = u32::try_from(index).ok();
            }
            edge = [edge, next].into_iter().flatten().min();
        }
        (open, edge.map(SystemTime::from))
    }

    /// The next time the answer can change, as people write it in the zone of
    /// the window that makes it; empty when there is none.
    pub fn edge_text(&self, now: SystemTime) -> String {
        let Ok(now) = Timestamp::try_from(now) else {
            return String::new();
        };
        let edges = self.windows.iter().filter_map(|window| {
            let edge = window.at(now).1?;
            Some((edge, &window.zone))
        });
        let first = edges.min_by_key(|(edge, _)| *edge);
        first.map_or_else(String::new, |(edge, zone)| {
            let name = zone.iana_name().unwrap_or("UTC");
            let local = edge.to_zoned(zone.clone());
            format!("{} {name}", local.strftime("%Y-%m-%d %H:%M"))
        })
    }
}

impl Window {
    fn parse(spec: &str) -> Result<Window, String> {
        let mut words = spec.split_whitespace();
        let mut next = words.next().ok_or("is empty")?;
        let mut days = 0x7f;
        if !next.contains(':') {
            days = parse_days(next)?;
            next = words.next().ok_or("has no times")?;
        }
        let (start, end) = next.split_once('-').ok_or("has no range of times")?;
        let zone = match words.next() {
            Some(name) => {
                TimeZone::get(name).map_err(|_| format!("names the unknown time zone `{name}`"))?
            }
            None => TimeZone::UTC,
        };
        if words.next().is_some() {
            return Err("has too many words".into());
        }
        Ok(Window {
            days,
            start: parse_minute(start)?,
            end: parse_minute(end)?,
            zone,
        })
    }

    /// Whether it is open, and its next start or end.
    fn at(&self, now: Timestamp) -> (bool, Option<Timestamp>) {
        let today = now.to_zoned(self.zone.clone()).date();
        let mut inside = false;
        let mut edge: Option<Timestamp> = None;
        for offset in -1..=8 {
            let Ok(day) = today.checked_add(Span::new().days(offset)) else {
                continue;
            };
            if self.days & weekday_bit(day.weekday()) == 0 {
                continue;
            }
            let wraps = i64::from(self.end <= self.start);
            let (Some(start), Some(end)) = (
                self.instant(day, 0, self.start),
                self.instant(day, wraps, self.end),
            ) else {
                continue;
            };
            inside |= start <= now && now < end;
            edge = [edge, Some(start), Some(end)]
                .into_iter()
                .flatten()
                .filter(|at| *at > now)
                .min();
        }
        (inside, edge)
    }

    fn instant(&self, day: Date, later: i64, minute: Minute) -> Option<Timestamp> {
        let (later, minute) = if minute == 1440 {
            (later + 1, 0)
        } else {
            (later, minute)
        };
        let day = day.checked_add(Span::new().days(later)).ok()?;
        let time = Time::new(
            i8::try_from(minute / 60).ok()?,
            i8::try_from(minute % 60).ok()?,
            0,
            0,
        )
        .ok()?;
        Some(
            day.to_datetime(time)
                .to_zoned(self.zone.clone())
                .ok()?
                .timestamp(),
        )
    }
}

fn weekday_bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

fn parse_days(text: &str) -> Result<u8, String> {
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_day(first)?, parse_day(last)?);
        let mut day = first;
        loop {
            days |= 1 << day;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<u8, String> {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let folded = text.to_ascii_lowercase();
    let found = DAYS
        .iter()
        .position(|day| folded.len() >= 3 && day.starts_with(&folded));
    found
        .and_then(|day| u8::try_from(day).ok())
        .ok_or_else(|| format!("names the unknown day `{text}`"))
}

fn parse_minute(text: &str) -> Result<Minute, String> {
    let bad = || format!("has the bad time `{text}`");
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let (hour, minute): (Minute, Minute) = (
        hour.parse().map_err(|_| bad())?,
        minute.parse().map_err(|_| bad())?,
    );
    let total = hour
        .checked_mul(60)
        .and_then(|m| m.checked_add(minute))
        .ok_or_else(bad)?;
    if minute > 59 || total > 1440 {
        Err(bad())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        SystemTime::from(text.parse::<Timestamp>().unwrap())
    }

    #[test]
    fn opens_and_closes_at_the_written_times() {
        // 2026-11-20 is a Friday.
        let cases = [
            (
                "Mon-Fri 08:00-18:00",
                "2026-11-20T07:59:59Z",
                false,
                "2026-11-20T08:00:00Z",
            ),
            (
                "Mon-Fri 08:00-18:00",
                "2026-11-20T08:00:00Z",
                true,
                "2026-11-20T18:00:00Z",
            ),
            (
                "Mon-Fri 08:00-18:00",
                "2026-11-20T18:00:00Z",
                false,
                "2026-11-23T08:00:00Z",
            ),
            (
                "Sat,Sun 00:00-24:00",
                "2026-11-21T12:00:00Z",
                true,
                "2026-11-22T00:00:00Z",
            ),
            (
                "22:00-06:00",
                "2026-11-20T23:00:00Z",
                true,
                "2026-11-21T06:00:00Z",
            ),
            (
                "Fri 22:00-06:00",
                "2026-11-21T05:00:00Z",
                true,
                "2026-11-21T06:00:00Z",
            ),
            (
                "Fri-Mon 10:00-11:00",
                "2026-11-22T10:30:00Z",
                true,
                "2026-11-22T11:00:00Z",
            ),
        ];
        for (spec, now, open, edge) in cases {
            let windows = Windows::new([spec]).unwrap();
            let (index, next) = windows.open_at(at(now));
            assert_eq!(index.is_some(), open, "{spec} at {now}");
            assert_eq!(next, Some(at(edge)), "{spec} at {now}");
        }
    }

    #[test]
    fn says_when_it_opens_or_closes_next() {
        let windows = Windows::new(["Mon-Fri 08:00-18:00", "Sat 10:00-12:00"]).unwrap();
        let cases = [
            ("2026-11-20T18:00:00Z", "2026-11-21 10:00 UTC"),
            ("2026-11-21T10:30:00Z", "2026-11-21 12:00 UTC"),
            ("2026-11-22T00:00:00Z", "2026-11-23 08:00 UTC"),
        ];
        for (now, expected) in cases {
            assert_eq!(windows.edge_text(at(now)), expected, "{now}");
        }
        assert_eq!(Windows::new([""; 0]).unwrap().edge_text(at(cases[0].0)), "");
    }

    #[test]
    fn knows_time_zones_and_summer_time() {
        let Ok(windows) = Windows::new(["08:00-18:00 Europe/Berlin"]) else {
            return; // no time zone data on this machine
        };
        assert_eq!(windows.open_at(at("2026-07-01T06:30:00Z")).0, Some(0));
        assert_eq!(windows.open_at(at("2026-12-01T06:30:00Z")).0, None);
    }

    #[test]
    fn names_what_is_wrong() {
        for bad in [
            "",
            "Mon",
            "Mon 8-9",
            "Xyz 08:00-09:00",
            "25:00-26:00",
            "08:00-09:00 Nowhere/Town",
            "Mon 08:00-09:00 UTC x",
        ] {
            let error = Windows::new([bad]).unwrap_err();
            assert!(error.starts_with("window `"), "{error}");
        }
    }
}
