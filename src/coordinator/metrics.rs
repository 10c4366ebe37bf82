//! The counts of all shards as Prometheus text. Label values come from the configuration and from fixed lists, never from a
//! caller.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::helpers::otlp::Spans;
use super::keeper::StorageState;
use super::life::HandoverCounts;
use super::running::ReloadCounts;
use super::state::State;
use crate::breaker::BreakerState;
use crate::clock::Now;
use crate::link::{self, ApiAnswer, Bounds, Tally};
use crate::names;
use crate::plan::{Labels, Plan};
use crate::shared::Shared;

/// Answers `GET /metrics`.
pub(super) fn answer(state: &State) -> ApiAnswer {
    let plan = state.plans.running();
    let total = state.totals.total();
    let mut families = requests(total, &plan.labels, state.in_flight());
    families.extend(costs_and_policies(total, &plan.labels));
    families.push(reloads(state.running.reloads));
    families.push(handovers(state.life.handovers));
    families.extend(cache(total, state.cache_items()));
    families.push(breakers(&plan, &state.shared, state.clock.now()));
    families.extend(storage(state));
    families.extend(state.otlp.as_ref().map(|otlp| exports(otlp.spans())).into_iter().flatten());
    // The text encoder refuses a family without metrics.
    families.retain(|family| !family.get_metric().is_empty());
    let mut body = Vec::new();
    let encoder = TextEncoder::new();
    encoder.encode(&families, &mut body).expect("every family has metrics of its own type");
    ApiAnswer { status: 200, content_type: prometheus::TEXT_FORMAT, headers: Vec::new(), body, stream: None }
}

fn requests(total: &Tally, labels: &Labels, in_flight: u64) -> Vec<MetricFamily> {
    let requests = total.requests.iter().map(|((provider, model, status), count)| {
        let status = status.to_string();
        let labels = [("provider", labels.text(*provider)), ("model", labels.text(*model)), ("status", &status)];
        counter(&labels, *count as f64)
    });
    let durations = total.by_model.iter().map(|((provider, model), cell)| {
        histogram(&[("provider", labels.text(*provider)), ("model", labels.text(*model))], &cell.duration)
    });
    let first_bytes = total.by_model.iter().map(|((provider, model), cell)| {
        histogram(&[("provider", labels.text(*provider)), ("model", labels.text(*model))], &cell.first_byte)
    });
    let tokens = total.by_model.iter().flat_map(|((provider, model), cell)| {
        let usage = &cell.usage;
        [("prompt", usage.input), ("completion", usage.output), ("total", usage.total)].map(|(kind, count)| {
            counter(
                &[("provider", labels.text(*provider)), ("model", labels.text(*model)), ("type", kind)],
                count as f64,
            )
        })
    });
    let refusals =
        total.refusals.iter().map(|((fault, code), count)| counter(&[("fault", fault), ("code", code)], *count as f64));
    let attempts = total.attempts.iter().map(|((provider, outcome), count)| {
        counter(&[("provider", labels.text(*provider)), ("outcome", outcome.label())], *count as f64)
    });
    vec![
        family(names::REQUESTS_TOTAL, "Requests by the status that the caller saw.", MetricType::COUNTER, requests),
        family(
            names::REQUEST_DURATION,
            "Time from a request's first byte to its answer's last, in seconds.",
            MetricType::HISTOGRAM,
            durations,
        ),
        family(
            names::TIME_TO_FIRST_BYTE,
            "Time from a request's first byte to the first of the provider's answer, in seconds.",
            MetricType::HISTOGRAM,
            first_bytes,
        ),
        family(
            names::OVERHEAD,
            "The gateway's own share of a request, in seconds.",
            MetricType::HISTOGRAM,
            [histogram(&[], &total.overhead)],
        ),
        family(names::TOKENS_TOTAL, "Tokens, as providers counted them.", MetricType::COUNTER, tokens),
        family(names::REFUSALS_TOTAL, "Requests that luner refused, by whose fault.", MetricType::COUNTER, refusals),
        family(names::ATTEMPTS_TOTAL, "Attempts at providers by outcome.", MetricType::COUNTER, attempts),
        family(names::IN_FLIGHT, "Requests being answered.", MetricType::GAUGE, [gauge(&[], in_flight as f64)]),
        family(
            names::BUILD_INFO,
            "Always 1; the version is a label.",
            MetricType::GAUGE,
            [gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1.0)],
        ),
    ]
}

fn costs_and_policies(total: &Tally, labels: &Labels) -> [MetricFamily; 3] {
    let costs = total.by_model.iter().map(|((provider, model), cell)| {
        counter(&[("provider", labels.text(*provider)), ("model", labels.text(*model))], cell.cost.usd())
    });
    let matches = total.policy_matches.iter().map(|((policy, action, mode), count)| {
        let labels = [("policy", labels.text(*policy)), ("action", action.name()), ("mode", mode.name())];
        counter(&labels, *count as f64)
    });
    let errors =
        total.policy_errors.iter().map(|(policy, count)| counter(&[("policy", labels.text(*policy))], *count as f64));
    [
        family(names::COST_USD_TOTAL, "Cost of requests at providers, in dollars.", MetricType::COUNTER, costs),
        family(names::POLICY_MATCHES_TOTAL, "Requests that a policy matched.", MetricType::COUNTER, matches),
        family(names::POLICY_ERRORS_TOTAL, "Requests on which a policy failed.", MetricType::COUNTER, errors),
    ]
}

fn reloads(counts: ReloadCounts) -> MetricFamily {
    let results = [("ok", counts.ok), ("rejected", counts.rejected)]
        .map(|(result, count)| counter(&[("result", result)], count as f64));
    family(names::CONFIG_RELOADS_TOTAL, "Changes of the configuration's files.", MetricType::COUNTER, results)
}

fn handovers(counts: HandoverCounts) -> MetricFamily {
    let results = [("done", counts.done), ("failed", counts.failed)]
        .map(|(result, count)| counter(&[("result", result)], count as f64));
    family(names::HANDOVERS_TOTAL, "Hand-overs to another process.", MetricType::COUNTER, results)
}

fn cache(total: &Tally, items: u64) -> [MetricFamily; 5] {
    let evictions = [("ttl", total.evicted.ttl), ("capacity", total.evicted.capacity)]
        .map(|(reason, count)| counter(&[("reason", reason)], count as f64));
    let single = |count: f64| [counter(&[], count)];
    let (hits, misses) = (single(total.cache_hits as f64), single(total.cache_misses as f64));
    [
        family(names::CACHE_HITS_TOTAL, "Requests answered from the cache.", MetricType::COUNTER, hits),
        family(names::CACHE_MISSES_TOTAL, "Requests that the cache could have answered.", MetricType::COUNTER, misses),
        family(names::CACHE_EVICTIONS_TOTAL, "Answers that left the cache.", MetricType::COUNTER, evictions),
        family(names::CACHE_SIZE, "Answers in the cache.", MetricType::GAUGE, [gauge(&[], items as f64)]),
        family(
            names::SAVED_USD_TOTAL,
            "Cost that answers from the cache saved, in dollars.",
            MetricType::COUNTER,
            single(total.saved.usd()),
        ),
    ]
}

fn storage(state: &State) -> [MetricFamily; 3] {
    let (dropped, storage) = (state.write_queue.dropped(), state.keeper.state());
    let queue = state.totals.total().traces_dropped;
    let traces = [("queue", queue), ("overload", dropped.overload), ("storage", dropped.storage)]
        .map(|(reason, count)| counter(&[("reason", reason)], count as f64));
    let states =
        StorageState::ALL.map(|known| gauge(&[("state", known.name())], f64::from(u8::from(known == storage))));
    let pending = gauge(&[], state.write_queue.pending() as f64);
    [
        family(names::TRACES_DROPPED_TOTAL, "Traces that are not stored, by reason.", MetricType::COUNTER, traces),
        family(names::STORAGE_STATE, "1 for the storage's state, 0 for the others.", MetricType::GAUGE, states),
        family(names::STORAGE_PENDING, "Requests whose usage waits for the storage.", MetricType::GAUGE, [pending]),
    ]
}

fn exports(spans: Spans) -> [MetricFamily; 2] {
    let exported = [counter(&[], spans.exported as f64)];
    let dropped = [("queue_full", spans.crowded_out), ("failed", spans.failed)]
        .map(|(reason, count)| counter(&[("reason", reason)], count as f64));
    [
        family(names::OTLP_SPANS_EXPORTED_TOTAL, "Spans that the collector accepted.", MetricType::COUNTER, exported),
        family(
            names::OTLP_SPANS_DROPPED_TOTAL,
            "Spans that were not exported, by reason.",
            MetricType::COUNTER,
            dropped,
        ),
    ]
}

fn breakers(plan: &Plan, shared: &Shared, now: Now) -> MetricFamily {
    let states = plan.providers.iter().flat_map(|provider| {
        let state = shared.breaker(provider.breaker).state(now).name();
        BreakerState::NAMES
            .map(|name| gauge(&[("provider", &provider.name), ("state", name)], f64::from(u8::from(name == state))))
    });
    let help = "1 for the state of the provider's circuit breaker, 0 for the others.";
    family(names::BREAKER_STATE, help, MetricType::GAUGE, states)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: impl IntoIterator<Item = Metric>) -> MetricFamily {
    let mut metrics: Vec<Metric> = metrics.into_iter().collect();
    // Maps have no order, and two scrapes should not differ only by order.
    metrics.sort_by_cached_key(|metric| {
        metric.get_label().iter().map(|label| label.value().to_owned()).collect::<Vec<_>>()
    });
    let mut family = MetricFamily::default();
    family.set_name(name.into());
    family.set_help(help.into());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

fn counter(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram<B: Bounds>(labels: &[(&str, &str)], counts: &link::Histogram<B>) -> Metric {
    let buckets = counts.cumulative().map(|(bound, below)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.count());
    histogram.set_sample_sum(counts.sum_ns as f64 / 1e9);
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}
