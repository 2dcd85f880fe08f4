//! The permit of a prepared statement, and whether it still holds.

use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::line::Decided;
use super::names::{Given, Portal, Prepared};
use super::refuse;
use super::session::Session;
use crate::model::{BindValue, Refusal, Statement, refusal::sqlstate};
use crate::policy::{Permit, Refused};
use crate::wire::postgres::message;

/// Why there is no permit.
pub(super) enum NoPermit {
    /// The statement may not run.
    Refused(Box<Refused>),
    /// A policy must be waited for first.
    Later,
}

impl From<Refused> for NoPermit {
    fn from(refused: Refused) -> NoPermit {
        NoPermit::Refused(Box::new(refused))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// A permit with what it needs in the present world.
    pub(super) fn given(&self, statement: &Arc<Statement>, permit: Permit) -> Given {
        Given {
            needs: self.needs(statement, &permit),
            world: self.world(),
            permit,
        }
    }

    /// The permit a prepared statement has, or a new decision when it no longer holds.
    pub(super) fn permit_for(
        &self,
        prepared: &Prepared,
        statement: &Arc<Statement>,
        values: Option<&[BindValue]>,
    ) -> Result<Given, NoPermit> {
        let set = self.policies();
        if values.is_none()
            && statement.facts.handle.is_none()
            && let Some(given) = &*prepared.permit.borrow()
            && given
                .permit
                .holds(&set, &self.facts, std::time::SystemTime::now())
            && Rc::ptr_eq(&given.world, &self.world())
        {
            return Ok(given.clone());
        }
        match self.decide(&set, &prepared.analysis, statement, values) {
            Decided::Permit(permit) => {
                let given = self.given(statement, permit);
                if values.is_none() {
                    *prepared.permit.borrow_mut() = Some(given.clone());
                }
                Ok(given)
            }
            Decided::Refuse(refused) => Err(NoPermit::Refused(refused)),
            Decided::Later => Err(NoPermit::Later),
            Decided::NeedsValues => {
                *prepared.permit.borrow_mut() = None;
                let refusal = Refusal::gate(
                    "values",
                    sqlstate::REFUSED,
                    "the policies changed and now need the values of this statement",
                )
                .hint("Bind the statement again.");
                Err(refuse::by_gate(refusal).into())
            }
        }
    }

    /// Decides anew about a portal whose values were part of the decision.
    pub(super) fn decide_bound(
        &self,
        portal: &Portal,
        statement: &Arc<Statement>,
    ) -> Result<Result<Given, NoPermit>, Error> {
        let rest = portal.values.as_deref().unwrap_or_default();
        let bind = message::Bind {
            portal: b"",
            statement: b"",
            rest,
        };
        let values = bind_values(&bind, &portal.prepared)?;
        let set = self.policies();
        Ok(
            match self.decide(&set, &portal.prepared.analysis, statement, Some(&values)) {
                Decided::Permit(permit) => {
                    let given = self.given(statement, permit);
                    *portal.permit.borrow_mut() = Some(given.clone());
                    Ok(given)
                }
                Decided::Refuse(refused) => Err(NoPermit::Refused(refused)),
                Decided::Later => Err(NoPermit::Later),
                Decided::NeedsValues => {
                    let refusal = Refusal::gate(
                        "values",
                        sqlstate::REFUSED,
                        "the values of this statement cannot be judged",
                    )
                    .hint("Bind the statement again.");
                    Err(refuse::by_gate(refusal).into())
                }
            },
        )
    }
}

/// The values of a Bind with the types of its statement.
pub(super) fn bind_values(
    bind: &message::Bind<'_>,
    prepared: &Prepared,
) -> Result<Vec<BindValue>, Error> {
    let values = bind.values().map_err(Error::Client)?;
    Ok(values
        .into_iter()
        .enumerate()
        .map(|(i, value)| BindValue {
            type_oid: prepared.types.get(i).copied().unwrap_or(0),
            binary: value.binary,
            bytes: value.bytes,
        })
        .collect())
}
