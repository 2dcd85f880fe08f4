//! Limits how many statements may come in how much time, in any number of buckets.
//!
//! The gate counts; this policy says which statement counts in which bucket.

use portcullis_sdk::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Debug)]
pub struct RateLimit {
    buckets: Vec<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    name: String,
    by: RateBy,
    burst: u32,
    per_ms: u64,
    classes: Vec<Class>,
}

/// What the operator may write.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    buckets: Vec<BucketSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketSettings {
    name: String,
    #[serde(default)]
    by: Vec<Dimension>,
    burst: u32,
    per: String,
    #[serde(default)]
    classes: Vec<Class>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Dimension {
    User,
    Address,
    Application,
    Database,
    Class,
}

/// Coarse classes, by what a statement can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Class {
    Read,
    Write,
    Schema,
    Other,
}

impl Class {
    fn of(effects: Effects) -> Class {
        let schema = Effects::SCHEMA | Effects::PRIVILEGE;
        let outside = Effects::SERVER_FILE | Effects::PROGRAM | Effects::NETWORK;
        if effects.intersects(schema) {
            Class::Schema
        } else if effects.intersects(Effects::WRITES | Effects::CODE | outside) {
            Class::Write
        } else if effects.contains(Effects::READS) {
            Class::Read
        } else {
            Class::Other
        }
    }
}

impl Policy for RateLimit {
    type Settings = Settings;

    fn configure(settings: Settings, setup: &mut Setup) -> Result<Self, Vec<Issue>> {
        let mut buckets: Vec<Bucket> = Vec::new();
        for (index, wanted) in settings.buckets.into_iter().enumerate() {
            let at = |key: &str| format!("/buckets/{index}/{key}");
            if wanted.name.is_empty() || wanted.name.len() > 63 {
                setup.issue(Issue::new(at("name"), "a bucket's name has 1 to 63 bytes"));
            }
            if buckets.iter().any(|bucket| bucket.name == wanted.name) {
                let message = format!("there are two buckets `{}`", wanted.name);
                setup.issue(
                    Issue::new(at("name"), message).hint("Give each bucket a name of its own."),
                );
            }
            if wanted.burst == 0 {
                let issue = Issue::new(at("burst"), "a burst of 0 would permit nothing");
                setup.issue(issue.hint("To refuse statements, use a policy that refuses them."));
            }
            let per_ms = milliseconds(&wanted.per).unwrap_or_else(|| {
                let issue = Issue::new(at("per"), format!("`{}` is not a time", wanted.per));
                setup.issue(
                    issue.hint("Write for example \"500ms\", \"1s\", \"1m\", \"1h\" or \"1d\"."),
                );
                1
            });
            let by = wanted
                .by
                .iter()
                .fold(RateBy::empty(), |by, dimension| by | dimension.bit());
            let BucketSettings {
                name,
                burst,
                classes,
                ..
            } = wanted;
            buckets.push(Bucket {
                name,
                by,
                burst,
                per_ms,
                classes,
            });
        }
        Ok(RateLimit { buckets })
    }

    fn judge(&self, statement: &Statement) -> Verdict {
        // A transaction that may not end would be worse than any rate.
        if statement.effects() == Effects::TRANSACTION || statement.kind() == Kind::Empty {
            return Verdict::pass();
        }
        let class = Class::of(statement.effects());
        let applies =
            |bucket: &&Bucket| bucket.classes.is_empty() || bucket.classes.contains(&class);
        self.buckets
            .iter()
            .filter(applies)
            .fold(Verdict::pass(), |verdict, bucket| {
                verdict.rate(bucket.name.clone(), bucket.by, bucket.burst, bucket.per_ms)
            })
    }
}

impl Dimension {
    fn bit(self) -> RateBy {
        match self {
            Dimension::User => RateBy::USER,
            Dimension::Address => RateBy::ADDRESS,
            Dimension::Application => RateBy::APPLICATION,
            Dimension::Database => RateBy::DATABASE,
            Dimension::Class => RateBy::CLASS,
        }
    }
}

/// `250ms`, `1s`, `5m`, `1h`, `1d`; at least a millisecond, at most 366 days.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let time = text[..digits].parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=366 * 86_400_000).contains(&time).then_some(time)
}

portcullis_sdk::export!(RateLimit);
