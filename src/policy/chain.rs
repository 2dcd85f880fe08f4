//! Many verdicts become one.
//!
//! Refuse beats respond beats pass; limits take the minimum. The order of the
//! policies decides only what is shown first: a property test shuffles them.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::model::refusal::sqlstate;
use crate::model::verdict::MASK_NULL;
use crate::model::{Refusal, Requirement, RequirementKind, Verdict};

/// Folds verdicts, given in configuration order.
pub fn fold<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>) -> Verdict {
    let mut folded = Verdict::default();
    for verdict in verdicts {
        for refusal in verdict.refusal.iter().chain(&verdict.also_refused) {
            if folded.refusal.is_none() {
                folded.refusal = Some(refusal.clone());
            } else {
                folded.also_refused.push(refusal.clone());
            }
        }
        respond(&mut folded, verdict);
        for requirement in &verdict.requirements {
            require(&mut folded.requirements, requirement);
        }
        folded.notices.extend(verdict.notices.iter().cloned());
        folded.alerts.extend(verdict.alerts.iter().cloned());
        folded.learned.extend(verdict.learned.iter().cloned());
    }
    if folded.refusal.is_some() {
        folded.response = None;
        folded.requirements.clear();
        folded.learned.clear();
    }
    folded.requirements.sort_by(|a, b| slot(a).cmp(&slot(b)));
    folded
}

/// Two policies that answer differently in the database's place agree on nothing.
fn respond(folded: &mut Verdict, verdict: &Verdict) {
    let Some(response) = &verdict.response else {
        return;
    };
    match &folded.response {
        None => folded.response = Some(response.clone()),
        Some(known) if known == response => {}
        Some(_) => {
            let refusal = Refusal::gate(
                "responses-differ",
                sqlstate::REFUSED,
                "two policies answer this statement differently",
            )
            .hint("let only one of the policies respond to it");
            let known = folded
                .refusal
                .iter()
                .chain(&folded.also_refused)
                .any(|other| *other == refusal);
            match &folded.refusal {
                _ if known => {}
                None => folded.refusal = Some(refusal),
                Some(_) => folded.also_refused.push(refusal),
            }
        }
    }
}

/// Adds a requirement, or tightens the one that is there.
fn require(list: &mut Vec<Requirement>, new: &Requirement) {
    match list.iter_mut().find(|known| slot(known) == slot(new)) {
        Some(known) => tighten(known, new),
        None => list.push(new.clone()),
    }
}

/// What makes two requirements the same one with different numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Slot<'r> {
    kind: u32,
    number: i64,
    policy: &'r str,
    text: &'r str,
    patterns: &'r [Arc<str>],
}

fn slot(requirement: &Requirement) -> Slot<'_> {
    let plain = |kind| Slot {
        kind,
        number: 0,
        policy: "",
        text: "",
        patterns: &[],
    };
    let policy = &*requirement.policy;
    match &requirement.kind {
        RequirementKind::RowsChangedMax { relation, .. } => Slot {
            number: relation.map_or(-1, i64::from),
            ..plain(0)
        },
        RequirementKind::RowsReturnedMax { .. } => plain(1),
        RequirementKind::TableRowsMax {
            patterns, pattern, ..
        } => Slot {
            number: i64::from(*pattern),
            policy,
            patterns,
            ..plain(2)
        },
        RequirementKind::Rate { bucket, by, .. } => Slot {
            number: i64::from_ne_bytes(by.to_ne_bytes()),
            policy,
            text: bucket,
            ..plain(3)
        },
        RequirementKind::PlanMax { measure, .. } => Slot {
            number: i64::from(*measure as u32),
            ..plain(4)
        },
        // The hook that is handed the plan is the policy's own.
        RequirementKind::WantPlan => Slot { policy, ..plain(5) },
        RequirementKind::Preview { .. } => plain(6),
        RequirementKind::DryRun => plain(7),
        RequirementKind::ReadOnly => plain(8),
        RequirementKind::Backup { .. } => plain(9),
        RequirementKind::Confirm { .. } => plain(10),
        RequirementKind::StatementTimeout { .. } => plain(11),
        RequirementKind::LockTimeout { .. } => plain(12),
        RequirementKind::Mask { column, .. } => Slot {
            text: column,
            ..plain(13)
        },
    }
}

/// Takes the stricter of two in one slot; it keeps the name of the policy that asked for it.
fn tighten(known: &mut Requirement, new: &Requirement) {
    use RequirementKind as K;
    let stricter = match (&mut known.kind, &new.kind) {
        (K::RowsChangedMax { rows: a, .. }, K::RowsChangedMax { rows: b, .. })
        | (K::RowsReturnedMax { rows: a }, K::RowsReturnedMax { rows: b }) => least(a, b),
        (
            K::TableRowsMax {
                changed: a,
                returned: c,
                ..
            },
            K::TableRowsMax {
                changed: b,
                returned: d,
                ..
            },
        ) => {
            *a = least_some(*a, *b);
            *c = least_some(*c, *d);
            Ordering::Equal
        }
        (
            K::Rate {
                burst: a,
                period_ms: c,
                ..
            },
            K::Rate {
                burst: b,
                period_ms: d,
                ..
            },
        ) => {
            *a = (*a).min(*b);
            *c = (*c).max(*d);
            Ordering::Equal
        }
        (K::PlanMax { limit: a, .. }, K::PlanMax { limit: b, .. }) => {
            let order = b.total_cmp(a);
            *a = a.min(*b);
            order
        }
        (K::Preview { rows: a }, K::Preview { rows: b }) => least(a, b),
        (K::Backup { scope: a }, K::Backup { scope: b }) => {
            let order = (*a).cmp(b);
            *a = (*a).max(*b);
            order
        }
        (K::Confirm { ttl_ms: a }, K::Confirm { ttl_ms: b })
        | (K::StatementTimeout { ms: a }, K::StatementTimeout { ms: b })
        | (K::LockTimeout { ms: a }, K::LockTimeout { ms: b }) => least(a, b),
        (K::Mask { method: a, .. }, K::Mask { method: b, .. }) => {
            if *a != *b {
                *a = MASK_NULL;
            }
            Ordering::Equal
        }
        _ => Ordering::Equal,
    };
    match stricter {
        Ordering::Less => known.policy = new.policy.clone(),
        Ordering::Equal if new.policy < known.policy => known.policy = new.policy.clone(),
        _ => {}
    }
}

/// Keeps the smaller; `Less` when it is the new one.
fn least<N: Ord + Copy>(known: &mut N, new: &N) -> Ordering {
    let order = new.cmp(known);
    *known = (*known).min(*new);
    order
}

fn least_some(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    [a, b].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Alert, Measure, Notice, Response, Severity};

    fn requirement() -> impl Strategy<Value = RequirementKind> {
        use RequirementKind as K;
        let patterns: Arc<[Arc<str>]> = Arc::from(vec![Arc::from("a*"), Arc::from("b")]);
        prop_oneof![
            (prop::option::of(0..2u32), 0..9u64)
                .prop_map(|(relation, rows)| K::RowsChangedMax { relation, rows }),
            (0..9u64).prop_map(|rows| K::RowsReturnedMax { rows }),
            (
                0..2u32,
                prop::option::of(0..9u64),
                prop::option::of(0..9u64)
            )
                .prop_map(move |(pattern, changed, returned)| {
                    K::TableRowsMax {
                        patterns: patterns.clone(),
                        pattern,
                        changed,
                        returned,
                    }
                }),
            ("[ab]", 0..3u64, 1..9u32, 1..9u64).prop_map(|(bucket, by, burst, period_ms)| {
                K::Rate {
                    bucket: bucket.into(),
                    by,
                    burst,
                    period_ms,
                }
            }),
            (0..9u32).prop_map(|n| K::PlanMax {
                measure: Measure::TotalCost,
                limit: f64::from(n)
            }),
            Just(K::WantPlan),
            Just(K::DryRun),
            (0..4u32).prop_map(|scope| K::Backup { scope }),
            (0..9u32).prop_map(|ttl_ms| K::Confirm { ttl_ms }),
            (0..9u32).prop_map(|ms| K::LockTimeout { ms }),
            ("[cd]", 0..3u32).prop_map(|(column, method)| K::Mask {
                column: column.into(),
                method
            }),
        ]
    }

    fn verdict(policy: usize) -> impl Strategy<Value = Verdict> {
        let name: Arc<str> = format!("p{policy}").into();
        let decision = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
        (
            prop::collection::vec(requirement(), 0..5),
            decision,
            any::<bool>(),
        )
            .prop_map(move |(kinds, decision, loud)| {
                let rule: Arc<str> = format!("{name}/rule").into();
                let require = |kind| Requirement {
                    policy: name.clone(),
                    kind,
                };
                let response = |text: &str| Response {
                    columns: vec![(text.into(), 25)],
                    rows: Vec::new(),
                };
                Verdict {
                    refusal: (decision == 1).then(|| Refusal {
                        policy: name.clone(),
                        ..Refusal::gate("rule", sqlstate::REFUSED, "no")
                    }),
                    response: match decision {
                        2 => Some(response("x")),
                        3 => Some(response("y")),
                        _ => None,
                    },
                    requirements: kinds.into_iter().map(require).collect(),
                    notices: vec![Notice {
                        rule: rule.clone(),
                        text: "n".into(),
                    }],
                    alerts: if loud {
                        vec![Alert {
                            rule,
                            severity: Severity::Warning,
                        }]
                    } else {
                        Vec::new()
                    },
                    ..Verdict::default()
                }
            })
    }

    fn chain() -> impl Strategy<Value = (Vec<Verdict>, Vec<Verdict>)> {
        let all = (verdict(0), verdict(1), verdict(2), verdict(3))
            .prop_map(|(a, b, c, d)| vec![a, b, c, d]);
        all.prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    }

    /// The verdict without the order that the configuration decides.
    fn unordered(mut verdict: Verdict) -> Verdict {
        let mut refusals: Vec<Refusal> = verdict
            .refusal
            .take()
            .into_iter()
            .chain(verdict.also_refused.drain(..))
            .collect();
        refusals.sort_by_key(Refusal::constraint);
        verdict.also_refused = refusals;
        verdict.notices.sort_by(|a, b| a.rule.cmp(&b.rule));
        verdict.alerts.sort_by(|a, b| a.rule.cmp(&b.rule));
        verdict
    }

    proptest! {
        #[test]
        fn folds_the_same_in_every_order((straight, shuffled) in chain()) {
            prop_assert_eq!(unordered(fold(&straight)), unordered(fold(&shuffled)));
        }

        #[test]
        fn folding_again_changes_nothing((verdicts, _) in chain()) {
            let once = fold(&verdicts);
            prop_assert_eq!(fold([&once]), once.clone());
        }
    }

    #[test]
    fn shows_the_first_refusal_and_records_all() {
        let refuse = |policy: &str| Verdict {
            refusal: Some(Refusal {
                policy: policy.into(),
                ..Refusal::gate("r", sqlstate::REFUSED, "no")
            }),
            requirements: vec![Requirement {
                policy: policy.into(),
                kind: RequirementKind::DryRun,
            }],
            ..Verdict::default()
        };
        let folded = fold(&[refuse("b"), refuse("a")]);
        assert_eq!(folded.refusal.unwrap().policy.as_ref(), "b");
        assert_eq!(folded.also_refused[0].policy.as_ref(), "a");
        assert!(folded.requirements.is_empty());
    }

    #[test]
    fn names_the_policy_with_the_stricter_limit() {
        let limit = |policy: &str, rows| Verdict {
            requirements: vec![Requirement {
                policy: policy.into(),
                kind: RequirementKind::RowsReturnedMax { rows },
            }],
            ..Verdict::default()
        };
        let folded = fold(&[limit("wide", 100), limit("narrow", 10)]);
        assert_eq!(folded.requirements.len(), 1);
        assert_eq!(folded.requirements[0].policy.as_ref(), "narrow");
    }

    #[test]
    fn two_masks_on_one_column_give_null() {
        let mask = |method| Verdict {
            requirements: vec![Requirement {
                policy: "p".into(),
                kind: RequirementKind::Mask {
                    column: "ssn".into(),
                    method,
                },
            }],
            ..Verdict::default()
        };
        let folded = fold(&[mask(1), mask(2)]);
        assert!(matches!(
            folded.requirements[0].kind,
            RequirementKind::Mask {
                method: MASK_NULL,
                ..
            }
        ));
    }
}
