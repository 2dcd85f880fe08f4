//! What others want of a worker.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Ending, Report};

/// Orders that may wait for one worker.
const ORDERS_MAX: usize = 64;
/// How long a worker may take: it is busy with a batch of bytes at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// One order.
#[derive(Debug)]
pub enum Order {
    /// Who is there?
    Look(oneshot::Sender<Report>),
    /// These sessions have to end. Answers how many they are.
    End {
        /// Which.
        whom: Whom,
        /// How.
        how: Ending,
        /// Where the answer goes.
        answer: oneshot::Sender<usize>,
    },
    /// Clients are not listened to until told otherwise.
    Suspend {
        /// Or are again.
        on: bool,
        /// Where the answer goes.
        answer: oneshot::Sender<usize>,
    },
}

/// Which sessions.
#[derive(Debug, Clone)]
pub enum Whom {
    /// Those of these databases.
    Databases(Vec<Arc<str>>),
    /// One.
    Client(u64),
}

/// The worker's end.
pub type Orders = mpsc::Receiver<Order>;

/// The way to one worker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailbox(mpsc::Sender<Order>);

/// A way to a worker, and the worker's end of it.
pub fn mailbox() -> (Mailbox, Orders) {
    let (sender, orders) = mpsc::channel(ORDERS_MAX);
    (Mailbox(sender), orders)
}

impl Mailbox {
    /// Whether the worker has ended, and its sessions with it.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends an order and waits for its answer; none when the worker is gone or too busy.
    pub async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let work = async {
            self.0.send(order(answer)).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(PATIENCE, work).await.ok()?
    }
}
