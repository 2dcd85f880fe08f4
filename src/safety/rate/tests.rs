//! Rates: bursts, refill, overflow, concurrency.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn client(user: &str) -> Client {
    Client {
        user: user.into(),
        database: "app".into(),
        address: None,
    }
}

fn rate(bucket: &str, by: u64, burst: u32, period_ms: u64) -> Requirement {
    Requirement {
        policy: "rates".into(),
        kind: RequirementKind::Rate {
            bucket: bucket.into(),
            by,
            burst,
            period_ms,
        },
    }
}

fn ask(rates: &Rates, requirements: &[Requirement], user: &str, now: u64) -> Result<(), Refusal> {
    let client = client(user);
    let session = SessionFacts::default();
    let asked = Asked {
        client: &client,
        session: &session,
        kind: Kind::Select,
        database: "app",
    };
    rates.charge_at(requirements, &asked, now)
}

fn accepted(rates: &Rates, requirements: &[Requirement], user: &str, now: u64) -> usize {
    (0..1000)
        .take_while(|_| ask(rates, requirements, user, now).is_ok())
        .count()
}

#[test]
fn allows_the_burst_and_then_one_per_interval() {
    let rates = Rates::new();
    let quota = [rate("q", 1, 20, 1000)];
    assert_eq!(accepted(&rates, &quota, "ann", SECOND), 20);
    assert_eq!(accepted(&rates, &quota, "ann", SECOND + SECOND / 20), 1);
    assert_eq!(accepted(&rates, &quota, "ann", SECOND + SECOND / 20 * 3), 2);
    assert_eq!(accepted(&rates, &quota, "ann", 10 * SECOND), 20);
}

#[test]
fn never_allows_twice_the_burst_at_a_window_boundary() {
    let rates = Rates::new();
    let quota = [rate("q", 1, 10, 1000)];
    let mut passed = 0;
    for step in 0..100 {
        let now = SECOND - SECOND / 100 + step * (SECOND / 5000);
        passed += usize::from(ask(&rates, &quota, "ann", now).is_ok());
    }
    assert!(passed <= 11, "{passed} within 20 ms");
}

#[test]
fn keeps_the_long_run_rate_exactly() {
    let rates = Rates::new();
    let quota = [rate("q", 1, 20, 200)];
    let passed = (0..10_000u64)
        .filter(|step| ask(&rates, &quota, "ann", SECOND + step * (SECOND / 200)).is_ok())
        .count();
    assert!((4950..=5050).contains(&passed), "{passed}");
}

#[test]
fn says_how_long_to_wait_and_waiting_so_long_is_enough() {
    let rates = Rates::new();
    let quota = [rate("q", 1, 1, 2500)];
    ask(&rates, &quota, "ann", SECOND).expect("first");
    let refusal = ask(&rates, &quota, "ann", 2 * SECOND).expect_err("second");
    assert_eq!(refusal.code, "53400");
    assert_eq!(&*refusal.hint, "try again in 1.5 s");
    assert_eq!(
        &*refusal.detail,
        "allowed are 1 statements in 2.5 s per user"
    );
    assert_eq!(refusal.constraint(), "rates/q");
    ask(&rates, &quota, "ann", 2 * SECOND + SECOND * 3 / 2).expect("after the wait");
}

#[test]
fn counts_users_apart_when_asked_to() {
    let rates = Rates::new();
    let apart = [rate("apart", 1, 1, 1000)];
    let together = [rate("together", 8, 1, 1000)];
    assert!(ask(&rates, &apart, "ann", SECOND).is_ok());
    assert!(ask(&rates, &apart, "bob", SECOND).is_ok());
    assert!(ask(&rates, &together, "ann", SECOND).is_ok());
    assert!(ask(&rates, &together, "bob", SECOND).is_err());
}

#[test]
fn charges_no_bucket_when_one_is_spent() {
    let rates = Rates::new();
    let wide = rate("wide", 8, 10, 1000);
    let narrow = rate("narrow", 1, 1, 1000);
    let both = [wide.clone(), narrow];
    assert_eq!(accepted(&rates, &both, "ann", SECOND), 1);
    for _ in 0..50 {
        assert!(ask(&rates, &both, "ann", SECOND).is_err());
    }
    assert_eq!(accepted(&rates, &[wide], "ann", SECOND), 9);
}

#[test]
fn keeps_the_spent_share_when_the_quota_changes() {
    let rates = Rates::new();
    let before = [rate("q", 1, 10, 1000)];
    for _ in 0..5 {
        ask(&rates, &before, "ann", SECOND).expect("half of the burst");
    }
    let after = [rate("q", 1, 100, 60_000)];
    assert_eq!(accepted(&rates, &after, "ann", SECOND), 50);
}

#[test]
fn a_burst_of_nothing_refuses_everything() {
    let rates = Rates::new();
    let none = [rate("q", 1, 0, 1000)];
    let refusal = ask(&rates, &none, "ann", SECOND).expect_err("nothing is allowed");
    assert_eq!(&*refusal.hint, "this rate allows no statements at all");
}

#[test]
fn holds_a_bounded_number_of_keys_and_shares_a_cell_beyond() {
    let rates = Rates::with_keys_max(640);
    let quota = [rate("q", 1, 2, 3_600_000)];
    let mut passed = 0;
    for user in 0..20_000 {
        passed += usize::from(ask(&rates, &quota, &format!("user{user}"), SECOND).is_ok());
    }
    assert!(rates.keys() <= 640 + SHARDS * OVERFLOW_PER_SHARD);
    assert!(rates.keys() <= 641, "one overflow cell: {}", rates.keys());
    assert!(passed <= 640 + 2, "{passed}");
}

#[test]
fn forgets_regained_cells_before_it_shares() {
    let rates = Rates::with_keys_max(640);
    let quota = [rate("q", 1, 2, 1000)];
    for user in 0..5_000 {
        let _ = ask(&rates, &quota, &format!("early{user}"), SECOND);
    }
    for user in 0..100 {
        let late = format!("late{user}");
        assert_eq!(accepted(&rates, &quota, &late, 100 * SECOND), 2, "{late}");
    }
}

#[test]
fn never_allows_more_than_the_burst_to_many_threads() {
    let rates = Arc::new(Rates::new());
    let quota: Arc<[Requirement]> =
        Arc::from([rate("narrow", 1, 700, 60_000), rate("wide", 8, 900, 60_000)]);
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (rates, quota, passed) = (&rates, &quota, &passed);
            scope.spawn(move || {
                let user = if thread % 2 == 0 { "ann" } else { "bob" };
                for _ in 0..2000 {
                    if ask(rates, quota, user, SECOND).is_ok() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let passed = passed.into_inner();
    assert!(passed <= 900, "{passed}");
    assert!(passed >= 895, "refunds must not lose quota: {passed}");
}
