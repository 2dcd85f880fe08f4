//! Counters and lines, from the same records.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::model::{Alert, Client, Refusal, Requirement, RequirementKind, Severity, Verdict};
use crate::sql;

use super::*;

fn client() -> Client {
    Client {
        user: "ann".into(),
        database: "app".into(),
        address: Some([10, 0, 0, 1].into()),
    }
}

fn record<'a>(client: &'a Client, outcome: Outcome) -> Record<'a> {
    Record {
        session: 7,
        client,
        protocol: ProtocolName::Simple,
        statement: None,
        text: "select 'secret'",
        outcome,
        refusal: None,
        verdict: None,
        remembered: false,
        timings: Timings {
            analyze_ns: 2_000,
            decide_ns: 500,
            ..Timings::default()
        },
        rows_returned: 3,
        rows_changed: None,
        incident: None,
        sqlstate: None,
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(act: impl FnOnce()) -> Vec<serde_json::Value> {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = sink.0.lock().unwrap().clone();
    String::from_utf8(bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn sums_the_counters_of_all_workers() {
    let telemetry = Telemetry::new(false);
    let client = client();
    for _ in 0..2 {
        let recorder = telemetry.recorder();
        recorder.record(&record(&client, Outcome::Allowed));
        recorder.emit(&Event::ConnectionOpened {
            session: 1,
            user: "a",
            database: "b",
            address: None,
        });
    }
    telemetry.read_gauge("portcullis_policy_sets_alive", || 1);
    let text = telemetry.metrics_text();
    for line in [
        "portcullis_statements_total{kind=\"other\",outcome=\"allowed\"} 2",
        "portcullis_clients 2",
        "portcullis_rows_returned_total 6",
        "portcullis_policy_sets_alive 1",
        "portcullis_stage_seconds_count{stage=\"analyze\"} 2",
        "portcullis_stage_seconds_bucket{stage=\"analyze\",le=\"0.000001024\"} 0",
        "portcullis_stage_seconds_bucket{stage=\"analyze\",le=\"0.000002048\"} 2",
        "portcullis_stage_seconds_count{stage=\"verify\"} 0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} not in\n{text}"
        );
    }
    assert_eq!(telemetry.totals().clients, 2);
}

#[test]
fn counts_requirements_alerts_and_refusals() {
    let telemetry = Telemetry::new(false);
    let recorder = telemetry.recorder();
    let client = client();
    let requirement = Requirement {
        policy: "t".into(),
        kind: RequirementKind::RowsReturnedMax { rows: 1 },
    };
    let alert = Alert {
        rule: "honeytoken/touched".into(),
        severity: Severity::Critical,
    };
    let verdict = Verdict {
        requirements: vec![requirement],
        alerts: vec![alert],
        ..Verdict::default()
    };
    recorder.record(&Record {
        verdict: Some(&verdict),
        remembered: true,
        ..record(&client, Outcome::Allowed)
    });
    let refusal = Refusal::gate("opaque", "42501", "no");
    recorder.record(&Record {
        refusal: Some(&refusal),
        incident: Some("X"),
        ..record(&client, Outcome::Refused)
    });
    recorder.record(&Record {
        refusal: Some(&refusal),
        ..record(&client, Outcome::Monitored)
    });
    let text = telemetry.metrics_text();
    for line in [
        "portcullis_requirements_total{kind=\"rows-returned-max\"} 1",
        "portcullis_alerts_total{policy=\"honeytoken\",rule=\"touched\",severity=\"critical\"} 1",
        "portcullis_refusals_total{policy=\"gate\",rule=\"opaque\"} 1",
        "portcullis_would_refuse_total{policy=\"gate\",rule=\"opaque\"} 1",
        "portcullis_verdicts_total{source=\"remembered\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} not in\n{text}"
        );
    }
    let recent = telemetry.recent_refusals(10);
    assert_eq!(recent.iter().map(|r| r.enforced).filter(|e| *e).count(), 1);
}

#[test]
fn logs_refusals_in_any_case_and_statements_when_asked() {
    let client = client();
    let refusal = Refusal::gate("opaque", "42501", "no");
    let lines = logged(|| {
        let recorder = Telemetry::new(false).recorder();
        recorder.record(&record(&client, Outcome::Allowed));
        recorder.record(&Record {
            refusal: Some(&refusal),
            incident: Some("AB12"),
            ..record(&client, Outcome::Refused)
        });
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["incident"], "AB12");
    assert_eq!(lines[0]["policy"], "gate");
    assert_eq!(lines[0]["address"], "10.0.0.1");
    let lines = logged(|| {
        Telemetry::new(true)
            .recorder()
            .record(&record(&client, Outcome::Allowed))
    });
    assert_eq!(lines[0]["analyze_us"], 2);
    assert_eq!(lines[0]["outcome"], "allowed");
}

#[test]
fn never_logs_a_literal() {
    let client = client();
    let analysis = sql::analyze("select 'hunter2'", sql::Lexer::POSTGRES);
    let lines = logged(|| {
        let recorder = Telemetry::new(true).recorder();
        let statement = analysis.statements.first().map(|s| &**s);
        recorder.record(&Record {
            statement,
            text: "select 'hunter2'",
            ..record(&client, Outcome::Allowed)
        });
    });
    assert!(!format!("{lines:?}").contains("hunter2"));
}

#[test]
fn every_event_is_a_line_and_a_count() {
    let client = client();
    let refusal = crate::model::Refusal::gate("r", "42501", "m");
    let events = [
        Event::ConnectionDenied {
            client: &client,
            refusal: &refusal,
            incident: Some("i"),
            live: false,
        },
        Event::ConnectionDenied {
            client: &client,
            refusal: &refusal,
            incident: None,
            live: true,
        },
        Event::Alert {
            client: &client,
            rule: "p/r",
            severity: crate::model::Severity::Warning,
        },
        Event::ConnectionRefused {
            address: None,
            reason: "too-many",
        },
        Event::LoginFailed {
            user: "u",
            database: "d",
            address: None,
            reason: "password",
        },
        Event::PolicyFault {
            policy: "p",
            fault: "trap",
            message: "m",
            incident: None,
        },
        Event::ReloadDone {
            generation: 2,
            summary: "s",
        },
        Event::ReloadFailed { reason: "r" },
        Event::LinkFailed {
            database: "d",
            message: "m",
        },
    ];
    let telemetry = Telemetry::new(false);
    let lines = logged(|| {
        let recorder = telemetry.recorder();
        events.iter().for_each(|event| recorder.emit(event));
    });
    assert_eq!(lines.len(), events.len());
    let text = telemetry.metrics_text();
    for name in [
        "connections_refused",
        "connections_denied",
        "would_deny_connections",
        "alerts",
        "logins_failed",
        "policy_faults",
        "reloads",
        "links_failed",
    ] {
        assert!(
            text.contains(&format!("\nportcullis_{name}_total")),
            "{name} not in\n{text}"
        );
    }
}

#[test]
fn docs_metrics_page_is_fresh() {
    crate::config::check_page("docs/metrics.md", &markdown());
}
