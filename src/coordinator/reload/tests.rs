//! Reloads of a coordinator without shards, driven by hand: what they publish and what they leave behind.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::config::{self, LogLevel};
use crate::coordinator::handover::NoLaunch;
use crate::coordinator::helpers::resolver::Resolver;
use crate::coordinator::helpers::supervisor::Supervisor;
use crate::coordinator::life::LifecycleParts;
use crate::coordinator::sample::{batch, trace};
use crate::coordinator::store::{Paging, StoredPolicy};
use crate::coordinator::{Coordinator, CoordinatorParts, Pins, Running, SetLogLevel, Source, Start, StateParts};
use crate::link::Event;
use crate::shared::Shared;

/// A coordinator, its files, and the events and log levels that it sends.
struct Scene {
    folder: TempDir,
    coordinator: Coordinator,
    events: flume::Receiver<Event>,
    levels: flume::Receiver<LogLevel>,
}

fn text(host: &str, more: &str) -> String {
    format!(
        "version: v1\nproviders:\n  - name: a\n    base_url: \"http://{host}/v1\"\n    api_key: secret-key-of-a\n    \
         models: [gpt-4o, unheard-of]\n{more}\n"
    )
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn scene(text: &str, pins: Pins) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let database = folder.path().join("luner.db");
    write(&path, &text.replace("DATABASE", database.to_str().unwrap()));
    let config = config::load(&path, &|_| None).unwrap();
    let clock = Clock::start();
    let (sender, levels) = flume::unbounded();
    let table = price_file::read(&config.pricing).unwrap();
    let set_log_level: SetLogLevel = Box::new(move |level| sender.send(level).unwrap());
    let start = Start { source: Source::File(path), pins, config, table, set_log_level };
    let running = Running::new(start, clock.now());
    let storage = OpenStorage::open(&running.config().storage, clock.now()).unwrap();
    let shared = Shared::new(1);
    let inputs = PlanInputs {
        config: running.config(),
        prices: running.table().prices.clone(),
        policies: storage.compiled,
        created_s: 0,
        exports_spans: false,
        slots: shared.claim_slots([]),
        now: Now::default(),
    };
    let plan = Arc::new(ArcSwap::from_pointee(Plan::new(inputs, None).unwrap()));
    let (sender, events) = flume::unbounded();
    let mut resolver = Resolver::new(sender);
    resolver.follow(&plan.load()).unwrap();
    let life = LifecycleParts {
        address: ([127, 0, 0, 1], 0).into(),
        sockets: Vec::new(),
        launch: Err(NoLaunch::NoFile),
        predecessor: None,
        supervisor: Supervisor::from_environment(),
        events: flume::unbounded().0.downgrade(),
    };
    let OpenStorage { keeper, policies, .. } = storage;
    let state = StateParts { clock, plan, shared, orders: Vec::new(), keeper, policies, running, resolver, life };
    let parts = CoordinatorParts { state, events: flume::unbounded().1 };
    Scene { folder, coordinator: Coordinator::new(parts), events, levels }
}

impl Scene {
    /// Writes the file and reloads. Returns the outcome and the version of the plan in force.
    fn rewrite(&mut self, text: &str) -> (ReloadOutcome, u64) {
        let database = self.folder.path().join("luner.db");
        write(&self.folder.path().join("config.yaml"), &text.replace("DATABASE", database.to_str().unwrap()));
        let outcome = self.reload();
        (outcome, self.version())
    }

    fn reload(&mut self) -> ReloadOutcome {
        reload(&mut self.coordinator.state)
    }

    fn version(&self) -> u64 {
        self.coordinator.state.plans.running().version
    }
}

const NO_STORE: &str = "storage: { backend: none }";
const STORE: &str = "storage: { sqlite: { path: \"DATABASE\" } }";

#[test]
fn unchanged_file_publishes_nothing() {
    let same = text("127.0.0.1:9", NO_STORE);
    let mut scene = scene(&same, Pins::default());
    assert_eq!(scene.rewrite(&same), (ReloadOutcome::Unchanged, 1));
    assert_eq!(scene.rewrite(&format!("# a comment\n\n{same}")), (ReloadOutcome::Unchanged, 1));
    apply_change(&mut scene.coordinator.state);
    assert_eq!((scene.version(), scene.coordinator.state.running.reloads.ok), (1, 1));
    assert_eq!(scene.rewrite(&text("127.0.0.1:8", NO_STORE)), (ReloadOutcome::Published, 2));
}

#[test]
fn bad_file_changes_nothing_until_a_good_one_comes() {
    let good = text("127.0.0.1:9", STORE);
    let mut scene = scene(&good, Pins::default());
    let before = scene.coordinator.state.plans.running();
    assert_eq!(scene.rewrite("version: v1\n"), (ReloadOutcome::Rejected, 1));
    assert!(Arc::ptr_eq(&before, &scene.coordinator.state.plans.running()));
    let rejected = scene.coordinator.state.running.rejected.as_ref().unwrap();
    assert_eq!(rejected.problems.list[0].key, "providers");
    assert_eq!(scene.coordinator.state.running.reloads.rejected, 1);
    assert_eq!(scene.rewrite(&good), (ReloadOutcome::Unchanged, 1));
    assert!(scene.coordinator.state.running.rejected.is_none());
    assert_eq!(scene.rewrite(&text("127.0.0.1:8", STORE)), (ReloadOutcome::Published, 2));
    let audit = scene.coordinator.state.keeper.store().unwrap().audit(Paging { page: 1, page_size: 10 }).unwrap();
    let actions: Vec<&str> = audit.items.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["config.reload", "config.rejected"]);
    let shown = serde_json::to_string(&audit).unwrap();
    assert!(shown.contains("http://127.0.0.1:8") && shown.contains("***"), "{shown}");
    assert!(!shown.contains("secret-key"), "{shown}");
}

#[test]
fn change_that_needs_a_restart_is_reported_and_not_in_force() {
    let with = |server: &str| text("127.0.0.1:9", &format!("{NO_STORE}\nserver: {{ {server} }}"));
    let mut scene = scene(&with("listen: \":1234\""), Pins { listen: None, workers: Some(3) });
    let changed = "listen: \":4321\", read_timeout: 5s, write_timeout: 6s, workers: 7, drain_timeout: 8s";
    assert_eq!(scene.rewrite(&with(changed)), (ReloadOutcome::Published, 2));
    let running = &scene.coordinator.state.running;
    assert_eq!(running.needs_restart(), ["server.listen", "server.read_timeout", "server.write_timeout"]);
    let plan = scene.coordinator.state.plans.running();
    assert_eq!((plan.read_timeout, plan.write_timeout), (Duration::from_secs(30), Duration::from_secs(120)));
    assert_eq!(plan.drain_timeout, Duration::from_secs(8));
    assert_eq!((running.config().server.workers, running.config().server.listen.port), (3, 1234));
    // Everything else is in force already: nothing is published, and what was reverted needs no restart.
    let back = "listen: \":1234\", read_timeout: 5s, drain_timeout: 8s";
    assert_eq!(scene.rewrite(&with(back)), (ReloadOutcome::Unchanged, 2));
    assert_eq!(scene.coordinator.state.running.needs_restart(), ["server.read_timeout"]);
}

#[test]
fn log_level_is_set_when_it_changes() {
    let with = |level: &str| text("127.0.0.1:9", &format!("{NO_STORE}\ntelemetry: {{ log: {level} }}"));
    let mut scene = scene(&with("info"), Pins::default());
    scene.rewrite(&with("debug"));
    scene.rewrite(&format!("{}cache: {{ enabled: false }}\n", with("debug")));
    scene.rewrite(&with("error"));
    assert_eq!(scene.levels.drain().collect::<Vec<_>>(), [LogLevel::Debug, LogLevel::Error]);
}

#[test]
fn price_file_is_part_of_the_configuration() {
    let mut scene = scene(&text("127.0.0.1:9", NO_STORE), Pins::default());
    let prices = scene.folder.path().join("prices.json");
    let with_file = text("127.0.0.1:9", &format!("{NO_STORE}\npricing: {{ file: {prices:?} }}"));
    assert_eq!(scene.rewrite(&with_file), (ReloadOutcome::Rejected, 1));
    let problem = &scene.coordinator.state.running.rejected.as_ref().unwrap().problems.list[0];
    assert_eq!(problem.key, "pricing.file");
    assert!(problem.message.contains("prices.json"), "{problem:?}");

    write(&prices, r#"{"unheard-of":{"input_cost_per_token":1e-6,"output_cost_per_token":2e-6}}"#);
    assert_eq!(scene.reload(), ReloadOutcome::Published);
    let price = |scene: &Scene| {
        let plan = scene.coordinator.state.plans.running();
        plan.prices.price("unheard-of").map(|price| price.rates.input)
    };
    assert_eq!(price(&scene), Some(1_000_000));
    assert_eq!(scene.reload(), ReloadOutcome::Unchanged);

    write(&prices, r#"{"unheard-of":{"input_cost_per_token":3e-6,"output_cost_per_token":2e-6}}"#);
    assert_eq!(scene.reload(), ReloadOutcome::Published);
    assert_eq!(price(&scene), Some(3_000_000));

    write(&prices, "{\n  \"unheard-of\": {");
    assert_eq!(scene.reload(), ReloadOutcome::Rejected);
    let problem = &scene.coordinator.state.running.rejected.as_ref().unwrap().problems.list[0];
    assert!(problem.message.contains("prices.json:2:"), "{problem:?}");
    assert_eq!((price(&scene), scene.version()), (Some(3_000_000), 3));
}

#[test]
fn new_database_brings_its_own_policies_or_nothing_changes() {
    let mut scene = scene(&text("127.0.0.1:9", NO_STORE), Pins::default());
    let database = scene.folder.path().join("luner.db");
    let with_store = text("127.0.0.1:9", STORE);
    let insert = |expression: &str| {
        let mut store = Store::open(&database, 0).unwrap();
        let row = StoredPolicy {
            id: "pol_1".into(),
            name: "one".into(),
            description: String::new(),
            expression: expression.into(),
            action: "block".into(),
            target_model: None,
            message: None,
            priority: 100,
            enabled: true,
            mode: "enforce".into(),
            created_at_ms: 0,
            updated_at_ms: 0,
        };
        let by = By { actor: "test", at_ms: 0 };
        match store.policies().unwrap().is_empty() {
            true => store.insert_policy(&row, by).unwrap(),
            false => _ = store.update_policy(&row, by).unwrap(),
        }
    };
    insert("costs > 1");
    assert_eq!(scene.rewrite(&with_store), (ReloadOutcome::Rejected, 1));
    let problem = &scene.coordinator.state.running.rejected.as_ref().unwrap().problems.list[0];
    assert!(problem.message.contains("pol_1") && problem.message.contains("costs"), "{problem:?}");
    assert!(scene.coordinator.state.keeper.store().is_none());
    insert("cost_usd > 1.0");
    assert_eq!(scene.rewrite(&with_store), (ReloadOutcome::Published, 2));
    assert_eq!(scene.coordinator.state.plans.running().policies.policies().len(), 1);
    assert_eq!(scene.rewrite(&text("127.0.0.1:9", NO_STORE)), (ReloadOutcome::Published, 3));
    assert!(scene.coordinator.state.plans.running().policies.is_empty());
}

/// Longer than anything here takes, so that a test that hangs says where.
const PATIENCE_MS: u64 = 20_000;

/// Number of threads of this process with this name, as the kernel cuts it.
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

#[test]
fn thousand_reloads_leave_nothing_behind() {
    const RELOADS: u64 = 1_000;
    let mut scene = scene(&text("localhost:1", NO_STORE), Pins::default());
    scene.coordinator.state.running.watch(flume::unbounded().0).unwrap();
    let prices = scene.folder.path().join("prices.json");
    write(&prices, "{}");
    // As a request in flight holds its plan.
    let held = scene.coordinator.state.plans.running();
    let mut forgotten = Vec::new();
    for n in 1..=RELOADS {
        let file = if n % 2 == 0 { "\"\"".to_owned() } else { format!("{prices:?}") };
        let port = 2 + n % 5;
        let next = text(&format!("localhost:{port}"), &format!("{NO_STORE}\npricing: {{ file: {file} }}"));
        assert_eq!(scene.rewrite(&next), (ReloadOutcome::Published, n + 1));
        forgotten.extend(scene.coordinator.state.plans.prune());
        assert!(scene.coordinator.state.plans.retired() <= 1, "only the plan that is held");
    }
    let localhost: Arc<str> = "localhost".into();
    assert!(!forgotten.contains(&(localhost.clone(), 1)), "the held plan may need it");
    drop(held);
    forgotten = scene.coordinator.state.plans.prune();
    assert_eq!((forgotten, scene.coordinator.state.plans.retired()), (vec![(localhost.clone(), 1)], 0));
    assert!(scene.coordinator.state.resolver.follows(&localhost, 2));
    let clock = Clock::start();
    // Other tests may resolve this name or watch a file at the same time.
    while threads("dns localhost") > 1 || threads("config watch") > 10 {
        assert!(clock.now().mono_ms() < PATIENCE_MS, "{} {}", threads("dns localhost"), threads("config watch"));
        scene.events.drain();
        std::thread::yield_now();
    }
}

fn stored_requests(path: &Path) -> u64 {
    let file = rusqlite::Connection::open(path).unwrap();
    file.query_row("SELECT ifnull(sum(requests), 0) FROM usage_minute", [], |row| row.get(0)).unwrap()
}

#[test]
fn queued_usage_goes_into_the_old_database() {
    let mut scene = scene(&text("127.0.0.1:9", STORE), Pins::default());
    scene.coordinator.handle(Event::Batch(Box::new(batch(1, vec![trace(1), trace(2)])))).unwrap();
    let (before, after) = (scene.folder.path().join("luner.db"), scene.folder.path().join("luner.db.2"));
    let moved = text("127.0.0.1:9", &STORE.replace("DATABASE", "DATABASE.2"));
    assert_eq!(scene.rewrite(&moved).0, ReloadOutcome::Published);
    scene.coordinator.handle(Event::Batch(Box::new(batch(2, vec![trace(3)])))).unwrap();
    scene.coordinator.finish();
    assert_eq!((stored_requests(&before), stored_requests(&after)), (2, 1));
    assert!(!scene.folder.path().join("luner.db.2-wal").exists(), "the log is folded in");
}

#[test]
fn queued_usage_is_dropped_when_the_storage_is_switched_off() {
    let mut scene = scene(&text("127.0.0.1:9", STORE), Pins::default());
    scene.coordinator.handle(Event::Batch(Box::new(batch(1, vec![trace(1)])))).unwrap();
    fs::remove_file(scene.folder.path().join("luner.db")).unwrap();
    assert_eq!(scene.rewrite(&text("127.0.0.1:9", NO_STORE)).0, ReloadOutcome::Published);
    assert_eq!(
        (scene.coordinator.state.write_queue.pending(), scene.coordinator.state.write_queue.dropped().storage),
        (0, 1)
    );
    scene.coordinator.handle(Event::Batch(Box::new(batch(2, vec![trace(2)])))).unwrap();
    assert_eq!(scene.coordinator.state.write_queue.pending(), 0, "nothing is queued without a store");
}
