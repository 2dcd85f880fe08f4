//! The pages.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::telemetry::Recent;

use super::Sources;

/// Refusals shown on the status page.
const REFUSALS_SHOWN: usize = 20;

pub(super) fn router(sources: Sources) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .with_state(sources)
}

async fn ready(State(sources): State<Sources>) -> Response {
    match sources.readiness.problem() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    }
    .into_response()
}

async fn metrics(State(sources): State<Sources>) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        sources.telemetry.metrics_text(),
    )
        .into_response()
}

async fn status(State(sources): State<Sources>) -> axum::Json<Value> {
    let totals = sources.telemetry.totals();
    let problem = sources.readiness.problem();
    let mut page = Map::new();
    page.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    page.insert("ready".to_owned(), json!(problem.is_none()));
    page.insert("not_ready_because".to_owned(), json!(problem));
    page.insert("uptime_seconds".to_owned(), json!(totals.uptime.as_secs()));
    page.insert("clients".to_owned(), json!(totals.clients));
    page.insert("statements".to_owned(), json!(totals.statements));
    page.insert("refused".to_owned(), json!(totals.refused));
    page.insert("would_refuse".to_owned(), json!(totals.would_refuse));
    page.extend(sources.status.entries());
    let recent = sources.telemetry.recent_refusals(REFUSALS_SHOWN);
    page.insert(
        "recent_refusals".to_owned(),
        recent.iter().map(refusal).collect(),
    );
    axum::Json(Value::Object(page))
}

fn refusal(recent: &Recent) -> Value {
    let at = jiff::Timestamp::try_from(recent.at)
        .map(|at| at.to_string())
        .ok();
    json!({
        "at": at,
        "enforced": recent.enforced,
        "user": &*recent.user,
        "database": &*recent.database,
        "policy": &*recent.refusal.policy,
        "rule": &*recent.refusal.rule,
        "code": recent.refusal.code,
        "message": &*recent.refusal.message,
        "statement": recent.statement,
        "incident": recent.incident,
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Arc;

    use super::super::{Admin, Readiness, Status};
    use super::*;
    use crate::telemetry::Telemetry;

    struct Entries;

    impl Status for Entries {
        fn entries(&self) -> Map<String, Value> {
            json!({ "generation": 3 })
                .as_object()
                .cloned()
                .unwrap_or_default()
        }
    }

    fn get(admin: &Admin, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(admin.address()).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn answers_health_readiness_metrics_and_status() {
        let readiness = Arc::new(Readiness::default());
        let sources = Sources {
            telemetry: Telemetry::new(false),
            readiness: readiness.clone(),
            status: Arc::new(Entries),
        };
        let admin = Admin::start("127.0.0.1:0".parse().unwrap(), None, sources).unwrap();
        assert!(get(&admin, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(&admin, "/readyz").contains("503"));
        readiness.listening();
        assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
        assert!(get(&admin, "/metrics").contains("portcullis_build_info{version="));
        let status = get(&admin, "/api/v1/status");
        assert!(
            status.contains("\"generation\":3") && status.contains("\"ready\":true"),
            "{status}"
        );
        readiness.draining();
        assert!(get(&admin, "/readyz").ends_with("draining\n"));
        assert!(get(&admin, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(&admin, "/nothing").starts_with("HTTP/1.1 404"));
    }
}
