//! Exports spans to an OpenTelemetry collector, if the environment names one. The coordinator offers requests to a bounded
//! queue; a helper thread turns them into spans and sends them. The coordinator never waits for the collector: spans that find
//! no room, or that the collector refuses for good, are dropped and counted.

// Reads the OTEL_* variables.
mod settings;

// Turns a request into spans.
mod spans;

// Sends bytes to the collector, blocking.
mod client;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use flume::RecvTimeoutError;
use hashbrown::HashMap;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::clock::Clock;
use crate::link::trace::Trace;
use crate::plan::Plan;
use client::Client;
use settings::Settings;
use spans::Server;

#[cfg(test)]
mod tests;

/// Reports that may wait, whatever they contain. Arbitrary.
const CHUNKS_MAX: usize = 1_024;
/// How long the end of the process waits until the last spans are sent. Arbitrary.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Handle of the exporter thread.
pub(crate) struct Otlp {
    chunks: flume::Sender<Chunk>,
    ended: flume::Receiver<Infallible>,
    counts: Arc<Counts>,
    /// Spans that may wait.
    queue_max: u64,
    /// See [`Settings::unsampled`].
    unsampled: bool,
    servers: Servers,
}

/// Requests of one report, and the addresses of their providers.
struct Chunk {
    traces: Vec<Trace>,
    servers: Arc<HashMap<Box<str>, Server>>,
}

/// Addresses of a plan's providers.
#[derive(Default)]
struct Servers {
    plan_version: u64,
    by_name: Arc<HashMap<Box<str>, Server>>,
}

/// Counts of spans, shared with the exporter thread.
#[derive(Debug, Default)]
struct Counts {
    /// Offered, but neither sent nor dropped yet.
    waiting: AtomicU64,
    exported: AtomicU64,
    /// Dropped because the queue was full.
    crowded_out: AtomicU64,
    /// Not accepted by the collector.
    failed: AtomicU64,
}

/// Counts of spans, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    pub exported: u64,
    pub crowded_out: u64,
    pub failed: u64,
}

/// Returns true if the environment configures the export of spans and the settings are valid.
pub fn exports_spans() -> bool {
    matches!(Settings::read(&|name| std::env::var(name).ok()), Ok(Some(_)))
}

impl Otlp {
    /// Starts the export that the environment configures. If its settings are wrong, logs that and exports nothing.
    pub(crate) fn start(clock: Clock) -> Option<Otlp> {
        let read = Settings::read(&|name| std::env::var(name).ok());
        let started = read.and_then(|settings| settings.map(|settings| Otlp::start_with(settings, clock)).transpose());
        started.unwrap_or_else(|reason| {
            tracing::warn!(reason, "no spans are exported");
            None
        })
    }

    fn start_with(settings: Settings, clock: Clock) -> Result<Otlp, String> {
        let client = Client::new(settings.timeout, settings.certificate.as_deref())?;
        let builder = SpanExporter::builder().with_http().with_http_client(client);
        let builder = builder.with_protocol(Protocol::HttpBinary).with_endpoint(&settings.endpoint);
        let mut exporter = builder.with_timeout(settings.timeout).build().map_err(|error| error.to_string())?;
        exporter.set_resource(&resource(&settings));
        let (chunks, offered) = flume::bounded(CHUNKS_MAX);
        let (ending, ended) = flume::bounded(0);
        let counts = Arc::new(Counts::default());
        let (queue_max, unsampled) = (settings.queue_max, settings.unsampled);
        tracing::info!(endpoint = settings.shown_endpoint(), "spans are exported");
        let sender = Sender { exporter, settings, clock, counts: counts.clone(), spans: Vec::new(), failing: false };
        let thread = thread::Builder::new().name("otlp".into());
        let run = move || {
            sender.run(&offered);
            drop(ending);
        };
        thread.spawn(run).map_err(|error| format!("starting a thread: {error}"))?;
        Ok(Otlp { chunks, ended, counts, queue_max, unsampled, servers: Servers::default() })
    }

    /// Offers requests that ran under `plan`, or under one shortly before it. Bodies are not copied and never exported.
    pub(crate) fn offer(&mut self, traces: &mut [Trace], plan: &Plan) {
        let mut room = self.queue_max.saturating_sub(self.counts.waiting.load(Ordering::Relaxed));
        let (mut copies, mut spans, mut crowded_out) = (Vec::with_capacity(traces.len()), 0, 0);
        let wanted = |trace: &&mut Trace| trace.sampled || self.unsampled;
        for trace in traces.iter_mut().filter(wanted) {
            let count = spans::count(trace);
            if count > room {
                crowded_out += count;
                continue;
            }
            room -= count;
            spans += count;
            copies.push(trace.without_bodies());
        }
        if !copies.is_empty() {
            self.counts.waiting.fetch_add(spans, Ordering::Relaxed);
            let chunk = Chunk { traces: copies, servers: self.servers.of(plan) };
            if self.chunks.try_send(chunk).is_err() {
                self.counts.waiting.fetch_sub(spans, Ordering::Relaxed);
                crowded_out += spans;
            }
        }
        self.counts.crowded_out.fetch_add(crowded_out, Ordering::Relaxed);
    }

    pub(crate) fn spans(&self) -> Spans {
        self.counts.spans()
    }

    /// Sends the waiting spans, but gives up after [`FINISH_TIMEOUT`].
    pub(crate) fn finish(self) {
        drop(self.chunks);
        let _ = self.ended.recv_timeout(FINISH_TIMEOUT);
        let (waiting, Spans { failed, .. }) = (self.counts.waiting.load(Ordering::Relaxed), self.counts.spans());
        if waiting > 0 {
            tracing::warn!(waiting, failed, "the collector did not take the last spans in time");
        }
    }
}

impl Servers {
    fn of(&mut self, plan: &Plan) -> Arc<HashMap<Box<str>, Server>> {
        if self.plan_version != plan.version {
            let servers = plan
                .providers
                .iter()
                .map(|provider| (provider.name.clone(), Server { host: provider.host.clone(), port: provider.port }));
            *self = Servers { plan_version: plan.version, by_name: Arc::new(servers.collect()) };
        }
        self.by_name.clone()
    }
}

impl Counts {
    fn spans(&self) -> Spans {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Spans { exported: count(&self.exported), crowded_out: count(&self.crowded_out), failed: count(&self.failed) }
    }
}

/// The helper thread's state.
struct Sender {
    exporter: SpanExporter,
    settings: Settings,
    clock: Clock,
    counts: Arc<Counts>,
    /// Not sent yet. Between two chunks, fewer than a batch.
    spans: Vec<SpanData>,
    /// Set while batches are refused, so that the error is logged once.
    failing: bool,
}

impl Sender {
    fn run(mut self, offered: &flume::Receiver<Chunk>) {
        while let Ok(chunk) = offered.recv() {
            let began = self.clock.now();
            self.add(chunk);
            loop {
                let left = self.settings.delay.saturating_sub(self.clock.now().since(began));
                match offered.recv_timeout(left) {
                    Ok(chunk) => self.add(chunk),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            let rest = std::mem::take(&mut self.spans);
            self.send(rest);
        }
    }

    /// Sends full batches at once.
    fn add(&mut self, chunk: Chunk) {
        for trace in &chunk.traces {
            spans::of(trace, &chunk.servers, &mut self.spans);
            while self.spans.len() >= self.settings.batch_max {
                let rest = self.spans.split_off(self.settings.batch_max);
                let full = std::mem::replace(&mut self.spans, rest);
                self.send(full);
            }
        }
    }

    fn send(&mut self, spans: Vec<SpanData>) {
        let count = spans.len() as u64;
        if count == 0 {
            return;
        }
        // The client blocks, so this future never waits for a waker.
        let sent = futures_executor::block_on(self.exporter.export(spans));
        let counted = if sent.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counted.fetch_add(count, Ordering::Relaxed);
        self.counts.waiting.fetch_sub(count, Ordering::Relaxed);
        match &sent {
            Err(error) if !self.failing => {
                tracing::warn!(%error, "spans could not be exported, further ones are counted")
            }
            Ok(()) if self.failing => tracing::info!("spans are exported again"),
            _ => {}
        }
        self.failing = sent.is_err();
    }
}

/// The service that sends the spans. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
fn resource(settings: &Settings) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    match settings.named {
        true => builder.build(),
        false => builder.with_service_name("luner").build(),
    }
}
