//! The transaction as PostgreSQL's protocol shows it, over SQLite's.
//!
//! SQLite is told to begin only when the first statement comes: then it is known
//! whether the write lock must be taken at once, which is the only way to wait
//! for it. After an error PostgreSQL ignores everything up to the end of the
//! block; SQLite would go on, so its transaction is given up at once, unless a
//! savepoint may still be returned to.

use tokio::io::{AsyncRead, AsyncWrite};

use super::session::Session;
use crate::backend::sqlite::{self, Control};
use crate::gate::Error;
use crate::model::TransactionState;

/// State of the transaction.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// BEGIN was said.
    block: bool,
    failed: bool,
    /// SQLite's transaction is open.
    open: bool,
    /// SQLite has given the transaction up by itself: nothing can be returned to.
    lost: bool,
    savepoints: Vec<String>,
}

impl Transaction {
    pub(super) fn state(&self) -> TransactionState {
        match (self.block, self.failed) {
            (true, true) => TransactionState::Failed,
            (true, false) => TransactionState::Active,
            (false, _) => TransactionState::Idle,
        }
    }

    /// Neither a block nor an implicit transaction.
    pub(super) fn is_idle(&self) -> bool {
        !self.block && !self.open
    }

    pub(super) fn in_block(&self) -> bool {
        self.block
    }

    pub(super) fn is_failed(&self) -> bool {
        self.block && self.failed
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    fn end(&mut self) {
        *self = Transaction::default();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn control(&mut self, control: Control) -> Result<Result<(), sqlite::Error>, Error> {
        match self.link.control(control).await {
            Err(sqlite::Error::Gone) => Err(sqlite::Error::Gone.into()),
            other => Ok(other),
        }
    }

    /// SQLite's transaction is open from here on; `write` takes its lock.
    pub(super) async fn ensure_begun(
        &mut self,
        write: bool,
    ) -> Result<Result<(), sqlite::Error>, Error> {
        if self.transaction.open {
            return Ok(Ok(()));
        }
        let outcome = self.control(Control::Begin(write)).await?;
        self.transaction.open = outcome.is_ok();
        Ok(outcome)
    }

    /// BEGIN. False: there was a block already.
    pub(super) fn begin_block(&mut self) -> bool {
        let new = !self.transaction.block;
        if new {
            self.transaction.block = true;
            self.settings.begin();
        }
        new
    }

    /// COMMIT, or the end of an implicit transaction. True when it was committed,
    /// false when it had failed and was rolled back.
    pub(super) async fn commit(&mut self) -> Result<Result<bool, sqlite::Error>, Error> {
        self.portals.clear();
        if self.transaction.failed || self.transaction.lost {
            self.rollback().await?;
            return Ok(Ok(false));
        }
        if self.transaction.open
            && let Err(error) = self.control(Control::Commit).await?
        {
            self.rollback().await?;
            return Ok(Err(error));
        }
        self.transaction.end();
        self.settings.end(true);
        self.note_settings();
        Ok(Ok(true))
    }

    /// ROLLBACK.
    pub(super) async fn rollback(&mut self) -> Result<(), Error> {
        self.portals.clear();
        if self.transaction.open {
            // It may have rolled back by itself already; then this is an error without meaning.
            let _ = self.control(Control::Rollback).await?;
        }
        self.transaction.end();
        self.settings.end(false);
        self.note_settings();
        Ok(())
    }

    /// A statement failed or was refused: an implicit transaction is rolled back, a block becomes failed.
    pub(super) async fn fail(&mut self) -> Result<(), Error> {
        if !self.transaction.block {
            return self.rollback().await;
        }
        self.portals.clear();
        self.transaction.failed = true;
        let open = self.transaction.open && self.link.in_transaction().await?;
        if self.transaction.open && !open {
            self.transaction.lost = true;
        }
        if open && self.transaction.savepoints.is_empty() {
            // Nobody can return to anything: let go of the locks now.
            let _ = self.control(Control::Rollback).await?;
            self.transaction.lost = true;
        }
        self.transaction.open = open && !self.transaction.lost;
        Ok(())
    }

    /// SAVEPOINT.
    pub(super) async fn savepoint(
        &mut self,
        name: String,
    ) -> Result<Result<(), sqlite::Error>, Error> {
        if let Err(error) = self.ensure_begun(false).await? {
            return Ok(Err(error));
        }
        let outcome = self.control(Control::Savepoint(name.clone())).await?;
        if outcome.is_ok() {
            self.transaction.savepoints.push(name);
        }
        Ok(outcome)
    }

    /// RELEASE.
    pub(super) async fn release(
        &mut self,
        name: String,
    ) -> Result<Result<(), sqlite::Error>, Error> {
        let Some(at) = self.transaction.savepoints.iter().rposition(|n| *n == name) else {
            return Ok(Err(missing_savepoint(&name)));
        };
        let outcome = self.control(Control::Release(name)).await?;
        if outcome.is_ok() {
            self.transaction.savepoints.truncate(at);
        }
        Ok(outcome)
    }

    /// ROLLBACK TO: a failed block is sound again.
    pub(super) async fn rollback_to(
        &mut self,
        name: String,
    ) -> Result<Result<(), sqlite::Error>, Error> {
        let known = self.transaction.savepoints.iter().rposition(|n| *n == name);
        let Some(at) = known.filter(|_| self.transaction.open) else {
            return Ok(Err(missing_savepoint(&name)));
        };
        self.portals.clear();
        let outcome = self.control(Control::RollbackTo(name)).await?;
        if outcome.is_ok() {
            self.transaction.savepoints.truncate(at + 1);
            self.transaction.failed = false;
        }
        Ok(outcome)
    }
}

fn missing_savepoint(name: &str) -> sqlite::Error {
    sqlite::Error::statement("3B001", format!("savepoint \"{name}\" does not exist"))
}
