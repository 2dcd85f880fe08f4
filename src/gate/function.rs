//! FunctionCall: a function called by its number, without a text.
//!
//! Only drivers' large objects still use it (55.2.4). The functions for those
//! have had the same numbers since they exist, so a call is judged as the
//! SELECT that says the same, with its values. Every other number is refused:
//! what stands behind it nobody can read.
//!
//! The functions taken write large objects and no table: no row limit counts
//! them, and there is no plan to look at.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Error;
use super::client::Took;
use super::expected::{Expected, Run, Statements};
use super::session::Session;
use crate::model::{BindValue, Refusal, refusal::sqlstate};
use crate::wire::postgres::frame::HEADER;
use crate::wire::postgres::message;

/// Number, name and argument types of the functions for large objects.
const LARGE_OBJECTS: [(u32, &str, &[u32]); 13] = [
    (715, "lo_create", &[OID]),
    (952, "lo_open", &[OID, INT4]),
    (953, "lo_close", &[INT4]),
    (954, "loread", &[INT4, INT4]),
    (955, "lowrite", &[INT4, BYTEA]),
    (956, "lo_lseek", &[INT4, INT4, INT4]),
    (957, "lo_creat", &[INT4]),
    (958, "lo_tell", &[INT4]),
    (964, "lo_unlink", &[OID]),
    (1004, "lo_truncate", &[INT4, INT4]),
    (3170, "lo_lseek64", &[INT4, INT8, INT4]),
    (3171, "lo_tell64", &[INT4]),
    (3172, "lo_truncate64", &[INT4, INT8]),
];

const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT4: u32 = 23;
const OID: u32 = 26;

/// The SELECT that says the same as a call.
fn select(name: &str, arguments: usize) -> String {
    let list: Vec<String> = (1..=arguments).map(|n| format!("${n}")).collect();
    format!("SELECT pg_catalog.{name}({})", list.join(", "))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn on_function_call(&mut self, size: usize) -> Result<Took, Error> {
        let body = BytesMut::from(&self.inbox[HEADER..size]);
        let call = message::function_call(&body).map_err(Error::Client)?;
        let known = LARGE_OBJECTS.iter().find(|(number, _, types)| {
            *number == call.function && types.len() == call.values.len()
        });
        let Some((_, name, types)) = known else {
            return Ok(self.refuse_call(
                Refusal::gate(
                    "function-call",
                    sqlstate::NOT_SUPPORTED,
                    "this function cannot be called by protocol message through the gate",
                )
                .detail(format!("The function's number is {}.", call.function))
                .hint("Call the function in a select statement instead."),
            ));
        };
        if self.own_block {
            return Ok(self.refuse_call(
                Refusal::gate(
                    "function-call",
                    sqlstate::NOT_SUPPORTED,
                    "a function cannot be called inside an unfinished pipeline",
                )
                .hint("Send Sync before the call."),
            ));
        }
        let (analysis, analyzed) = self.analyze(select(name, types.len()).as_bytes());
        let values: Vec<BindValue> = call
            .values
            .into_iter()
            .zip(types.iter())
            .map(|(value, type_oid)| BindValue {
                type_oid: *type_oid,
                binary: value.binary,
                bytes: value.bytes,
            })
            .collect();
        let (statements, needs) = match self.decide_string_with(&analysis, &values) {
            Ok(allowed) => allowed,
            Err(took) => return Ok(took),
        };
        for ((statement, permit), need) in statements.iter().zip(&needs) {
            if let Some(refused) = self.cannot(statement, permit, need) {
                self.refuse_simple(&analysis.text, statement, &refused);
                return Ok(Took::Done);
            }
        }
        self.write_notices(statements.iter().map(|(_, permit)| permit));
        for statement in &analysis.statements {
            self.note_sent(statement);
        }
        let spent = (analyzed, self.worker.take_spent());
        let run = Run::new(Statements::Many(statements), true, spent, self.now());
        self.queue.push(Expected::Query(Box::new(run)));
        self.executed += 1;
        Ok(Took::Forward)
    }

    fn refuse_call(&mut self, refusal: Refusal) -> Took {
        let incident = self.incident();
        self.record_refusal("", None, &refusal, None, false, true, &incident);
        self.refuse_query(self.say(&refusal, &incident));
        Took::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_as_a_select() {
        assert_eq!(select("lo_open", 2), "SELECT pg_catalog.lo_open($1, $2)");
        let lexer = crate::sql::Lexer::POSTGRES;
        for (_, name, types) in LARGE_OBJECTS {
            let analysis = crate::sql::analyze(&select(name, types.len()), lexer);
            assert!(analysis.problem.is_none(), "{name}");
            let facts = &analysis.statements[0].facts;
            assert_eq!(facts.functions[0].name.as_ref(), name);
            assert!(!facts.is_opaque(), "{name}");
        }
    }
}
