//! The sample database of the demo and of tests: believable, the same every time.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use super::error::Error;

const SCHEMA: &str = "
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name VARCHAR(80) NOT NULL,
    email TEXT NOT NULL UNIQUE,
    country CHAR(2) NOT NULL,
    active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    price NUMERIC(10,2) NOT NULL CHECK (price >= 0),
    stock INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    product_id INTEGER NOT NULL REFERENCES products(id),
    quantity INTEGER NOT NULL DEFAULT 1,
    total NUMERIC(10,2) NOT NULL,
    status TEXT NOT NULL DEFAULT 'new',
    ordered_at TIMESTAMP NOT NULL
);
CREATE INDEX orders_user_id_idx ON orders(user_id);
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    user_id INTEGER REFERENCES users(id) ON DELETE SET NULL,
    at TIMESTAMP NOT NULL
);
CREATE TABLE canary_credentials (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    login TEXT NOT NULL,
    secret TEXT NOT NULL,
    rotated_at TIMESTAMP NOT NULL
);
CREATE VIEW active_users AS SELECT id, name, email, country FROM users WHERE active;
";

const FIRST: &[&str] = &[
    "Ada", "Grace", "Linus", "Margaret", "Ken", "Barbara", "Dennis", "Radia", "Niklaus", "Frances",
    "Edsger", "Anita", "Alan", "Hedy", "Donald", "Joan", "Tim", "Sophie", "Bjarne", "Karen",
];
const LAST: &[&str] = &[
    "Lovell",
    "Hopkins",
    "Torres",
    "Hamill",
    "Thomas",
    "Lindqvist",
    "Richter",
    "Perle",
    "Wirtz",
    "Allan",
    "Dijk",
    "Borges",
    "Turner",
    "Lamar",
    "Knapp",
    "Clarke",
    "Lee",
    "Wilson",
    "Strand",
    "Sparks",
];
const COUNTRIES: &[&str] = &["DE", "US", "FR", "SE", "BR", "JP", "IN", "NL"];
const THINGS: &[(&str, &str, u64)] = &[
    ("Desk lamp", "home", 3490),
    ("Notebook", "office", 450),
    ("Mechanical keyboard", "office", 11900),
    ("Espresso cups", "kitchen", 2400),
    ("Trail shoes", "sport", 9900),
    ("Rain jacket", "sport", 14900),
    ("Bread knife", "kitchen", 4200),
    ("Wall clock", "home", 3900),
    ("USB hub", "office", 2990),
    ("Yoga mat", "sport", 3200),
];
const STATUS: &[&str] = &[
    "new",
    "paid",
    "shipped",
    "delivered",
    "delivered",
    "delivered",
    "returned",
];
const MESSAGES: &[(&str, &str)] = &[
    ("info", "login"),
    ("info", "password changed"),
    ("info", "order placed"),
    ("warning", "payment retried"),
    ("error", "payment declined"),
    ("info", "newsletter opened"),
    ("warning", "login from a new device"),
];

/// A small generator whose numbers never change (Knuth's MMIX constants).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides.max(1)
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.roll(list.len() as u64) as usize]
    }

    fn moment(&mut self) -> String {
        let (month, day) = (self.roll(12) + 1, self.roll(28) + 1);
        format!(
            "2025-{month:02}-{day:02} {:02}:{:02}:{:02}",
            self.roll(24),
            self.roll(60),
            self.roll(60)
        )
    }
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Makes the sample database in a file that must not hold one yet.
pub fn create(path: &Path) -> Result<(), Error> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    let mut dice = Dice(42);
    users(&transaction, &mut dice)?;
    let prices = products(&transaction, &mut dice)?;
    orders(&transaction, &mut dice, &prices)?;
    logs(&transaction, &mut dice)?;
    canaries(&transaction, &mut dice)?;
    transaction.commit()?;
    Ok(())
}

const USERS: u64 = 400;

fn users(transaction: &Transaction<'_>, dice: &mut Dice) -> Result<(), Error> {
    let mut insert = transaction.prepare("INSERT INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for id in 1..=USERS {
        let (first, last) = (dice.pick(FIRST), dice.pick(LAST));
        let email = format!(
            "{}.{}{id}@example.com",
            first.to_lowercase(),
            last.to_lowercase()
        );
        let active = dice.roll(10) > 0;
        insert.execute(params![
            id as i64,
            format!("{first} {last}"),
            email,
            dice.pick(COUNTRIES),
            active,
            dice.moment()
        ])?;
    }
    Ok(())
}

fn products(transaction: &Transaction<'_>, dice: &mut Dice) -> Result<Vec<u64>, Error> {
    let mut insert = transaction.prepare("INSERT INTO products VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut prices = Vec::new();
    for (id, (name, category, cents)) in THINGS.iter().cycle().take(60).enumerate() {
        let (model, cents) = (
            ["basic", "classic", "plus", "studio", "travel", "pro"][id / 10],
            cents + dice.roll(20) * 50,
        );
        insert.execute(params![
            id as i64 + 1,
            format!("{name}, {model}"),
            category,
            money(cents),
            dice.roll(300) as i64
        ])?;
        prices.push(cents);
    }
    Ok(prices)
}

fn orders(transaction: &Transaction<'_>, dice: &mut Dice, prices: &[u64]) -> Result<(), Error> {
    let mut insert =
        transaction.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for id in 1..=2000i64 {
        let (user, product, quantity) = (
            dice.roll(USERS) + 1,
            dice.roll(prices.len() as u64),
            dice.roll(4) + 1,
        );
        let total = money(prices[product as usize] * quantity);
        insert.execute(params![
            id,
            user as i64,
            product as i64 + 1,
            quantity as i64,
            total,
            dice.pick(STATUS),
            dice.moment()
        ])?;
    }
    Ok(())
}

fn logs(transaction: &Transaction<'_>, dice: &mut Dice) -> Result<(), Error> {
    let mut insert = transaction.prepare("INSERT INTO logs VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for id in 1..=3000i64 {
        let (level, message) = dice.pick(MESSAGES);
        let user = dice.roll(USERS + 40) + 1;
        let user = (user <= USERS).then_some(user as i64);
        insert.execute(params![id, level, message, user, dice.moment()])?;
    }
    Ok(())
}

fn canaries(transaction: &Transaction<'_>, dice: &mut Dice) -> Result<(), Error> {
    let mut insert =
        transaction.prepare("INSERT INTO canary_credentials VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (id, service) in [
        "billing",
        "backup",
        "mailer",
        "warehouse",
        "reports",
        "deploy",
    ]
    .iter()
    .enumerate()
    {
        let secret: String = (0..24)
            .map(|_| char::from(b'a' + dice.roll(26) as u8))
            .collect();
        insert.execute(params![
            id as i64 + 1,
            service,
            format!("svc_{service}"),
            secret,
            dice.moment()
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_believable_and_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let start = std::time::Instant::now();
        let mut sums = Vec::new();
        for name in ["a.db", "b.db"] {
            let path = folder.path().join(name);
            create(&path).unwrap();
            let connection = Connection::open(&path).unwrap();
            let sum: (i64, f64) = connection
                .query_row(
                    "SELECT count(*), sum(total) FROM orders JOIN users ON users.id = user_id",
                    [],
                    |r| Ok((r.get(0)?, r.get(1)?)),
                )
                .unwrap();
            assert!(
                connection
                    .prepare("PRAGMA foreign_key_check")
                    .unwrap()
                    .query([])
                    .unwrap()
                    .next()
                    .unwrap()
                    .is_none()
            );
            sums.push(sum);
        }
        assert_eq!(sums[0], sums[1]);
        assert_eq!(sums[0].0, 2000);
        assert!(start.elapsed().as_secs() < 10);
    }
}
