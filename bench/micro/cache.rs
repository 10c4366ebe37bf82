//! Measures the cost of a cached answer outside the kernel: the key of a request, the look-up, and the parts of both.
//! Run with `cargo bench --bench cache`. Prints the best of several rounds, because disturbances only make a round
//! slower.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use luner::cache::{
    Answer, Asked, CachedAnswer, FRONT_LIMITS, Front, HashKey, Keys, Limits, NewEntry, Owner, Role, Store,
};
use luner::clock::Now;
use luner::dialect::openai::request;
use luner::llm::{FactLimits, Operation};

/// Rounds, of which the best counts. Arbitrary: enough for one without disturbance.
const ROUNDS: usize = 9;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn time(name: &str, repeat: usize, mut run: impl FnMut()) {
    let round = |_| {
        let start = Instant::now();
        (0..repeat).for_each(|_| run());
        start.elapsed().as_nanos() as f64 / repeat as f64
    };
    let best = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<48} {best:>12.1} ns");
}

fn asked(body: &[u8]) -> Asked<'_> {
    let shared_within = Some("acme");
    Asked { shared_within, operation: Operation::Chat, model: "gpt-4o-mini", body, depth_max: 128 }
}

/// A chat request of about this length.
fn chat(bytes: usize) -> Vec<u8> {
    let text = "The quick brown fox jumps over the lazy dog.\\n".repeat(bytes / 46);
    let (system, user) = text.split_at(text.len() / 92 * 46);
    format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{user}"}}],"temperature":0,"max_tokens":256}}"#
    )
    .into_bytes()
}

fn members(count: usize, key_bytes: usize) -> Vec<u8> {
    let pad = "x".repeat(key_bytes - 6);
    let members: Vec<_> = (0..count).map(|n| format!(r#""{pad}{:06}":{n}"#, (n * 7_919) % 1_000_003)).collect();
    format!(r#"{{"model":"m","extra":{{{}}}}}"#, members.join(",")).into_bytes()
}

fn keys_of(name: &str, body: &[u8], repeat: usize) {
    let hash_key = HashKey::new([7; 32]);
    let mut keys = Keys::new(hash_key);
    let name = |what: &str| format!("{name} ({} bytes): {what}", body.len());
    time(&name("facts"), repeat, || {
        drop(black_box(request::read(black_box(body), Operation::Chat, &FactLimits::default())))
    });
    time(&name("fingerprint"), repeat, || {
        black_box(hash_key.fingerprint(black_box(body)));
    });
    time(&name("key, canonical"), repeat, || {
        black_box(keys.canonical_key(black_box(&asked(body))));
    });
    time(&name("key, memo"), repeat, || {
        black_box(keys.key(black_box(&asked(body))));
    });
}

/// Measures look-ups among 5,000 entries of 1 KB, the default size, each under the key of a different body.
fn look_ups() {
    let now = Now::default();
    let mut keys = Keys::new(HashKey::new([7; 32]));
    let mut store = Store::new(Limits { items: 5_000, bytes: 256 << 20 });
    let mut front = Front::new(FRONT_LIMITS);
    let mut all = Vec::new();
    for n in 0..5_000 {
        let key = keys.canonical_key(&asked(format!(r#"{{"n":{n}}}"#).as_bytes())).expect("an object");
        let parts = NewEntry {
            key,
            body: vec![b'x'; 1_024],
            content_type: "application/json".into(),
            usage: Default::default(),
            cost: Default::default(),
            ttl: Duration::from_secs(7_200),
        };
        let entry = Arc::new(CachedAnswer::new(parts, now));
        store.insert(&entry, now);
        front.keep(entry, now);
        all.push(key);
    }
    let mut owner = Owner::<u64>::new(store);
    // The step is coprime to 5,000, so that every entry gets its turn in an order that the processor cannot predict.
    let mut next = (1..).map(|n: usize| all[n * 1_733 % all.len()]);
    let hot = all[4_999];
    time("owner: one hot entry", 100_000, || {
        black_box(matches!(owner.ask(black_box(hot), 0, now), Answer::Hit(_)));
    });
    time("owner: each of 5,000 in turn", 100_000, || {
        black_box(matches!(owner.ask(next.next().expect("endless"), 0, now), Answer::Hit(_)));
    });
    time("front: one hot entry", 100_000, || {
        black_box(front.find(black_box(hot), now).is_some());
    });
    time("front: each of 5,000 in turn, 4,096 kept", 100_000, || {
        black_box(front.find(next.next().expect("endless"), now).is_some());
    });
    time("owner: a miss that flies alone", 100_000, || {
        let key = next.next().expect("endless");
        owner.store.set_limits(Limits { items: 0, bytes: 0 }, now);
        if let Answer::Miss(Role::Lead(ticket)) = owner.ask(key, 0, now) {
            black_box(owner.unshared(ticket));
        }
    });
}

fn main() {
    look_ups();
    keys_of("chat", &chat(520), 100_000);
    keys_of("chat", &chat(4_000), 20_000);
    keys_of("chat", &chat(100_000), 500);
    keys_of("32,000 members", &members(32_000, 64), 3);
    keys_of("32,000 members", &members(32_000, 300), 3);
    let tokens: Vec<_> = (0..130_000).map(|n| (n % 100_000).to_string()).collect();
    keys_of("130,000 tokens", format!(r#"{{"model":"m","input":[{}]}}"#, tokens.join(",")).as_bytes(), 3);
}
