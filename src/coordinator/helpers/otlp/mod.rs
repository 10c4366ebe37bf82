//! Spans for an OpenTelemetry collector, if the environment names one. The coordinator offers requests to a bounded queue; a
//! helper thread turns them into spans and sends them. It never waits for the collector: what finds no room, or is refused
//! for good, is dropped and counted.

mod settings; // the OTEL_* variables

mod spans; // a request as spans

mod client; // bytes to the collector, blocking

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

/// Reports that wait at most, whatever is in them.
const CHUNKS_MAX: usize = 1_024;
/// How long the end of the process waits for the last spans to go. Arbitrary.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to the collector.
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

/// Requests, and where their providers are.
struct Chunk {
    traces: Vec<Trace>,
    servers: Arc<HashMap<Box<str>, Server>>,
}

/// Providers by their name, as of a plan.
#[derive(Default)]
struct Servers {
    plan: u64,
    by_name: Arc<HashMap<Box<str>, Server>>,
}

/// What has become of spans.
#[derive(Debug, Default)]
struct Counts {
    /// Offered, and neither sent nor dropped yet.
    waiting: AtomicU64,
    exported: AtomicU64,
    /// For want of room.
    crowded_out: AtomicU64,
    /// The collector did not take them.
    failed: AtomicU64,
}

/// What has become of spans, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    pub exported: u64,
    pub crowded_out: u64,
    pub failed: u64,
}

/// Whether the environment asks for spans, and in a way that is understood.
pub fn exports_spans() -> bool {
    matches!(Settings::read(&|name| std::env::var(name).ok()), Ok(Some(_)))
}

impl Otlp {
    /// Starts to export where the environment says. What is wrong with it is logged, and then nothing is exported.
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

    /// Offers requests that went by `plan`, or one not long before it. Bodies are not copied, and never leave.
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

    /// Sends what waits, within bounds.
    pub(crate) fn finish(self) {
        drop(self.chunks);
        let _ = self.ended.recv_timeout(PATIENCE);
        let (waiting, Spans { failed, .. }) = (self.counts.waiting.load(Ordering::Relaxed), self.counts.spans());
        if waiting > 0 {
            tracing::warn!(waiting, failed, "the collector did not take the last spans in time");
        }
    }
}

impl Servers {
    fn of(&mut self, plan: &Plan) -> Arc<HashMap<Box<str>, Server>> {
        if self.plan != plan.version {
            let servers = plan
                .providers
                .iter()
                .map(|provider| (provider.name.clone(), Server { host: provider.host.clone(), port: provider.port }));
            *self = Servers { plan: plan.version, by_name: Arc::new(servers.collect()) };
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
    /// Not sent yet; fewer than a batch, between two chunks.
    spans: Vec<SpanData>,
    /// Whether the last batch was refused, so that an error is told once.
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
        // The client blocks, so that this never waits for a waker.
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

/// Who sends: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
fn resource(settings: &Settings) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    match settings.named {
        true => builder.build(),
        false => builder.with_service_name("luner").build(),
    }
}
