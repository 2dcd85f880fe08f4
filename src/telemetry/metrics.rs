//! The metrics: one table says their names, and what `docs/metrics.md` says of them.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::UNIX_EPOCH;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::record::STAGES;
use super::shard::{BUCKETS, Count, Family, REQUIREMENTS, Shard};
use super::{Inner, lock};

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Name.
    pub name: &'static str,
    /// What kind.
    pub kind: MetricKind,
    /// Label names.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// Kinds of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Times in buckets.
    Histogram,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// Every metric of the gate.
pub const METRICS: &[Metric] = {
    use MetricKind::{Counter, Gauge, Histogram};
    &[
        metric(
            "portcullis_statements_total",
            Counter,
            &["kind", "outcome"],
            "Statements, by what they are and what became of them.",
        ),
        metric(
            "portcullis_refusals_total",
            Counter,
            &["policy", "rule"],
            "Statements refused. Policy `gate`: the gate's own rules and limits.",
        ),
        metric(
            "portcullis_would_refuse_total",
            Counter,
            &["policy", "rule"],
            "Statements that a policy in monitor mode would have refused.",
        ),
        metric(
            "portcullis_alerts_total",
            Counter,
            &["policy", "rule", "severity"],
            "Alerts raised by policies.",
        ),
        metric(
            "portcullis_requirements_total",
            Counter,
            &["kind"],
            "Requirements that permitted statements ran under.",
        ),
        metric(
            "portcullis_verdicts_total",
            Counter,
            &["source"],
            "Verdicts, `remembered` from an equal statement or `judged` anew.",
        ),
        metric(
            "portcullis_wasm_calls_total",
            Counter,
            &[],
            "Calls into WebAssembly policies.",
        ),
        metric(
            "portcullis_policy_faults_total",
            Counter,
            &["policy", "fault"],
            "Policies that failed while judging.",
        ),
        metric(
            "portcullis_stage_seconds",
            Histogram,
            &["stage"],
            "Time that statements spent in each stage.",
        ),
        metric(
            "portcullis_rows_returned_total",
            Counter,
            &[],
            "Rows returned to clients.",
        ),
        metric(
            "portcullis_rows_changed_total",
            Counter,
            &[],
            "Rows changed, where the number is known.",
        ),
        metric("portcullis_clients", Gauge, &[], "Clients connected."),
        metric(
            "portcullis_connections_total",
            Counter,
            &[],
            "Clients that have logged in.",
        ),
        metric(
            "portcullis_connections_refused_total",
            Counter,
            &["reason"],
            "Connections turned away before login.",
        ),
        metric(
            "portcullis_connections_denied_total",
            Counter,
            &["policy", "rule"],
            "Connections that a policy refused after login, or ended after the policies changed.",
        ),
        metric(
            "portcullis_would_deny_connections_total",
            Counter,
            &["policy", "rule"],
            "Connections that a policy in monitor mode would have refused.",
        ),
        metric(
            "portcullis_logins_failed_total",
            Counter,
            &["reason"],
            "Logins that failed.",
        ),
        metric(
            "portcullis_links",
            Gauge,
            &[],
            "Connections to database servers.",
        ),
        metric(
            "portcullis_links_failed_total",
            Counter,
            &[],
            "Connections to database servers that could not be opened.",
        ),
        metric(
            "portcullis_reloads_total",
            Counter,
            &["result"],
            "Reloads, `ok` or `failed`; a failed one changed nothing.",
        ),
        metric(
            "portcullis_policy_sets_alive",
            Gauge,
            &[],
            "Policy sets in memory: 1, and more only while an old one is still in use.",
        ),
        metric(
            "portcullis_events_dropped",
            Gauge,
            &[],
            "Finished statements that policies were not told of because too many waited.",
        ),
        metric(
            "portcullis_log_lines_dropped",
            Gauge,
            &[],
            "Log lines dropped because the log was not read fast enough.",
        ),
        metric(
            "portcullis_start_time_seconds",
            Gauge,
            &[],
            "When the process started, in seconds since 1970.",
        ),
        metric(
            "portcullis_build_info",
            Gauge,
            &["version"],
            "Always 1; the label says which version runs.",
        ),
    ]
};

/// The page `docs/metrics.md`.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut out = String::from(
        "# Metrics\n\n\
         <!-- Generated from src/telemetry/metrics.rs: `UPDATE_DOCS=1 cargo test --lib docs_` writes it anew. -->\n\n\
         `GET /metrics` on the admin address answers in Prometheus' text format. Labels never hold statement text, \
         literals or the names that a honeytoken watches.\n\n\
         | metric | type | labels | |\n|---|---|---|---|\n",
    );
    for Metric {
        name,
        kind,
        labels,
        help,
    } in METRICS
    {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            out,
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        );
    }
    out
}

/// What `/metrics` answers, from a registry of its own: nothing is global.
pub(super) struct Page(prometheus::Registry);

impl Page {
    pub(super) fn register(inner: Weak<Inner>) -> Option<Page> {
        let registry = prometheus::Registry::new();
        let descriptions = METRICS
            .iter()
            .map(|metric| {
                let labels = metric
                    .labels
                    .iter()
                    .map(|label| (*label).to_owned())
                    .collect();
                Desc::new(
                    metric.name.to_owned(),
                    metric.help.to_owned(),
                    labels,
                    Default::default(),
                )
            })
            .collect::<Result<Vec<_>, _>>()
            .ok()?;
        registry
            .register(Box::new(Sum {
                inner,
                descriptions,
            }))
            .ok()?;
        Some(Page(registry))
    }

    pub(super) fn text(&self) -> String {
        prometheus::TextEncoder::new()
            .encode_to_string(&self.0.gather())
            .unwrap_or_default()
    }
}

/// Sums the workers' counters when somebody asks.
struct Sum {
    inner: Weak<Inner>,
    descriptions: Vec<Desc>,
}

impl Collector for Sum {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(inner) = self.inner.upgrade() else {
            return Vec::new();
        };
        let mut families = Families::default();
        let shards = lock(&inner.shards).clone();
        for shard in &shards {
            families.add_shard(shard);
        }
        families.add_stages(&shards);
        for (name, reading) in lock(&inner.readings).iter() {
            families.set(name, &[], reading() as f64);
        }
        let started = inner
            .started_at
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        families.set("portcullis_start_time_seconds", &[], started);
        families.set("portcullis_build_info", &[env!("CARGO_PKG_VERSION")], 1.0);
        families.finish()
    }
}

/// Values by metric and label values, sorted so that two scrapes look alike.
#[derive(Default)]
struct Families {
    values: BTreeMap<(&'static str, Vec<String>), f64>,
    histograms: Vec<(&'static str, proto::Metric)>,
}

impl Families {
    fn add(&mut self, name: &'static str, labels: &[&str], value: u64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        *self.values.entry((name, labels)).or_default() += value as f64;
    }

    fn set(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.values.insert((name, labels), value);
    }

    fn add_shard(&mut self, shard: &Shard) {
        for (outcome, kind, count) in shard.statement_counts() {
            self.add(
                "portcullis_statements_total",
                &[kind.name(), outcome.name()],
                count,
            );
        }
        for (name, count) in REQUIREMENTS.iter().zip(&shard.requirements) {
            if count.get() != 0 {
                self.add("portcullis_requirements_total", &[name], count.get());
            }
        }
        self.add(
            "portcullis_verdicts_total",
            &["remembered"],
            shard.remembered.get(),
        );
        self.add("portcullis_verdicts_total", &["judged"], shard.judged.get());
        let plain: [(&'static str, &Count); 4] = [
            ("portcullis_wasm_calls_total", &shard.wasm_calls),
            ("portcullis_rows_returned_total", &shard.rows_returned),
            ("portcullis_rows_changed_total", &shard.rows_changed),
            ("portcullis_connections_total", &shard.connections_opened),
        ];
        for (name, count) in plain {
            self.add(name, &[], count.get());
        }
        // Closed is read after opened, so that the gauge never dips below zero by a race alone.
        let open = |opened: &Count, closed: &Count| {
            let opened = opened.get();
            opened as f64 - closed.get() as f64
        };
        *self
            .values
            .entry(("portcullis_clients", Vec::new()))
            .or_default() += open(&shard.connections_opened, &shard.connections_closed);
        for ((family, a, b, c), count) in shard.rare_counts() {
            match family {
                Family::Refusals => self.add("portcullis_refusals_total", &[&a, &b], count),
                Family::WouldRefuse => self.add("portcullis_would_refuse_total", &[&a, &b], count),
                Family::Alerts => self.add("portcullis_alerts_total", &[&a, &b, c], count),
                Family::Faults => self.add("portcullis_policy_faults_total", &[&a, &b], count),
                Family::LoginsFailed => self.add("portcullis_logins_failed_total", &[&a], count),
                Family::ConnectionsRefused => {
                    self.add("portcullis_connections_refused_total", &[&a], count)
                }
                Family::DeniedConnections => {
                    self.add("portcullis_connections_denied_total", &[&a, &b], count)
                }
                Family::WouldDenyConnections => {
                    self.add("portcullis_would_deny_connections_total", &[&a, &b], count)
                }
                Family::Reloads => self.add("portcullis_reloads_total", &[&a], count),
                Family::LinksFailed => self.add("portcullis_links_failed_total", &[], count),
            }
        }
    }

    fn add_stages(&mut self, shards: &[std::sync::Arc<Shard>]) {
        for (i, stage) in STAGES.iter().enumerate() {
            let times = || shards.iter().map(|shard| &shard.stages[i]);
            let mut so_far = 0;
            let buckets = (0..BUCKETS)
                .map(|bucket| {
                    so_far += times().map(|t| t.buckets[bucket].get()).sum::<u64>();
                    let mut it = proto::Bucket::default();
                    it.set_upper_bound((1u64 << (bucket + 10)) as f64 / 1e9);
                    it.set_cumulative_count(so_far);
                    it
                })
                .collect();
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(buckets);
            // Not less than the buckets, though a worker may count in between.
            histogram.set_sample_count(times().map(|t| t.count.get()).sum::<u64>().max(so_far));
            histogram.set_sample_sum(times().map(|t| t.sum_ns.get()).sum::<u64>() as f64 / 1e9);
            let mut metric = proto::Metric::from_label(vec![label("stage", stage)]);
            metric.set_histogram(histogram);
            self.histograms.push(("portcullis_stage_seconds", metric));
        }
    }

    fn finish(self) -> Vec<MetricFamily> {
        METRICS
            .iter()
            .map(|metric| self.family(metric))
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }

    fn family(&self, metric: &Metric) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(match metric.kind {
            MetricKind::Counter => MetricType::COUNTER,
            MetricKind::Gauge => MetricType::GAUGE,
            MetricKind::Histogram => MetricType::HISTOGRAM,
        });
        let mut metrics: Vec<proto::Metric> = self
            .histograms
            .iter()
            .filter(|(name, _)| *name == metric.name)
            .map(|(_, value)| value.clone())
            .collect();
        for ((name, values), value) in &self.values {
            if *name != metric.name {
                continue;
            }
            let labels = metric
                .labels
                .iter()
                .zip(values)
                .map(|(name, value)| label(name, value))
                .collect();
            let mut it = proto::Metric::from_label(labels);
            if metric.kind == MetricKind::Gauge {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(*value);
                it.set_gauge(gauge);
            } else {
                let mut counter = proto::Counter::default();
                counter.set_value(*value);
                it.set_counter(counter);
            }
            metrics.push(it);
        }
        family.set_metric(metrics);
        family
    }
}

fn label(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
