//! The process as an operator sees it: how it starts, on which driver, and how it stops (FAULTS.md rows 63, 64, 66, 67
//! and 69). `stalls` and `supervised` have the tests of threads that stall or panic.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::*;

/// A provider that streams one event, waits for `gate`, and then ends the stream in order.
fn held_stream(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::script(move |conn| {
        conn.request();
        conn.write(STREAM_HEAD);
        conn.write(in_chunk(delta("first")));
        gate.wait();
        conn.write(in_chunk(delta("last")));
        conn.write(stream_end());
        conn.hold();
    })
}

/// Opens a connection and reads the first event of a stream.
#[track_caller]
fn start_stream(luner: &Running) -> Raw {
    let mut client = luner.connect();
    assert_eq!(client.send(post_stream("gpt-4o", "x")).head().status, 200);
    assert_eq!(client.chunk(), Some(delta("first").into_bytes()));
    client
}

/// FAULTS.md rows 66 and 69.
#[test]
fn running_stream_is_finished_before_the_process_ends() {
    for signal in [Signal::TERM, Signal::INT] {
        let gate = Gate::new();
        let upstream = held_stream(&gate);
        let mut luner = Gateway::in_front_of(upstream.url()).workers(2).start();
        let mut stream = start_stream(&luner);
        let mut idle = luner.connect();
        assert_eq!(idle.send(get("/v1/models")).answer().status, 200);
        let mut half = luner.connect();
        // One and a half requests are sent at once, so the answer to the first shows that the half was read.
        half.send([get("/v1/models"), b"GET /api/health HTTP/1.1\r\nHost: ".to_vec()].concat());
        assert_eq!(half.answer().status, 200);

        luner.signal(signal);
        luner.wait_log("\"draining\"");
        assert!(idle.is_closed(), "an idle connection is closed soon");
        eventually("the listener is closed", || !luner.is_listening());
        let health = half.send("gateway\r\n\r\n").answer();
        assert_eq!((health.status, &health.json()["status"]), (503, &json!("draining")));
        assert_eq!(health.header("connection"), Some("close"));
        assert!(half.is_closed());
        assert!(luner.is_running() && stream.is_quiet());

        gate.permit();
        let rest: Vec<u8> = std::iter::from_fn(|| stream.chunk()).flatten().collect();
        assert_eq!(String::from_utf8_lossy(&rest), format!("{}data: [DONE]\n\n", delta("last")));
        assert!(stream.is_closed());
        assert_eq!(luner.wait_exit().code(), Some(0));
        assert!(luner.logs().iter().any(|line| line.contains("\"stopped\"")));
    }
}

/// FAULTS.md row 66.
#[test]
fn request_waiting_for_its_provider_is_finished_before_the_process_ends() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        held.wait();
        conn.write(ok_chat("late"));
        conn.hold();
    });
    let mut luner = Gateway::in_front_of(upstream.url()).start();
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    eventually("the request is in flight", || upstream.requests().len() == 1);
    luner.signal(Signal::TERM);
    luner.wait_log("\"draining\"");
    gate.permit();
    assert_eq!(client.answer().content(), "late");
    assert!(client.is_closed());
    assert_eq!(luner.wait_exit().code(), Some(0));
}

/// FAULTS.md row 66.
#[test]
fn idle_gateway_stops_at_once() {
    let mut luner = Gateway::in_front_of("http://127.0.0.1:9/v1").workers(2).start();
    let mut silent = luner.connect();
    luner.health();
    luner.signal(Signal::TERM);
    assert!(silent.is_closed());
    assert_eq!(luner.wait_exit().code(), Some(0));
}

/// FAULTS.md row 67.
#[test]
fn second_signal_stops_at_once() {
    let gate = Gate::new();
    let upstream = held_stream(&gate);
    let mut luner = Gateway::in_front_of(upstream.url()).start();
    let mut stream = start_stream(&luner);
    luner.signal(Signal::TERM);
    luner.wait_log("\"draining\"");
    assert!(luner.is_running());
    luner.signal(Signal::TERM);
    let status = luner.wait_exit();
    assert!(status.code().is_some(), "luner exits by itself: {status}");
    // The caller can tell that the stream is incomplete: the last chunk is missing, or an error event precedes it.
    let rest = stream.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n") || rest.windows(5).any(|five| five == b"error"), "{}", show(&rest));
    gate.permit();
}

/// FAULTS.md row 66.
#[test]
fn request_is_cut_at_drain_timeout() {
    let gate = Gate::new();
    let upstream = held_stream(&gate);
    let mut luner = Gateway::in_front_of(upstream.url()).server(json!({ "drain_timeout": "300ms" })).start();
    let mut stream = start_stream(&luner);
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    assert!(luner.logs().iter().any(|line| line.contains("drain_timeout")), "the log says so: {:#?}", luner.logs());
    let rest = stream.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n") || rest.windows(5).any(|five| five == b"error"), "{}", show(&rest));
    gate.permit();
}

/// FAULTS.md row 67: the reader of luner's output or of an answer is gone.
#[test]
fn sigpipe_is_ignored() {
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    luner.signal(Signal::PIPE);
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
}

#[test]
fn health_reports_driver_workers_and_plan() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").workers(2).start();
    let answer = luner.ask(get("/api/health"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let health = answer.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["workers"], 2);
    assert_eq!(health["storage"], "off");
    assert_eq!(health["plan"], 1);
    assert!(health["uptime_s"].is_u64() && health["version"].is_string());
    let io = if luner.is_on_io_uring() { "io_uring" } else { "epoll" };
    assert_eq!(health["io"], io);
    // The suite runs once on each driver, so luner must run on the one that `LUNER_IO` names.
    match std::env::var("LUNER_IO").as_deref() {
        Ok("io_uring") => assert_eq!(io, "io_uring"),
        Ok("epoll") => assert_eq!(io, "epoll"),
        _ => {}
    }
    let body = answer.text();
    assert!(!body.contains("openai") && !body.contains("127.0.0.1"), "health reveals no provider: {body}");
    assert_eq!(luner.ask(post("/api/health", "{}")).status, 405);
    assert_eq!(luner.ask(get("/api/nothing")).status, 404);
}

#[test]
fn driver_can_be_chosen() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").env("LUNER_IO", "epoll").start();
    assert_eq!(luner.health()["io"], "epoll");
    let config = Scratch::new(&Gateway::in_front_of("http://127.0.0.1:9/v1").config_text());
    let path = config.path.to_str().unwrap();
    let output = run_luner_with_env(&["--config", path, "--listen", "127.0.0.1:0"], &[("LUNER_IO", "carrier-pigeon")]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("carrier-pigeon"));
}

/// FAULTS.md row 64.
#[test]
fn scarce_locked_memory_falls_back_to_a_smaller_ring_then_epoll() {
    let mock = mock();
    for (bytes, io) in [("65536", "io_uring"), ("4096", "epoll")] {
        let luner = start_with_locked_memory(&mock.base_url(), bytes);
        if luner.health()["io"] == "io_uring" && luner.logs().iter().all(|line| !line.contains("io_uring could not")) {
            println!("skipped: this kernel does not count a ring as locked memory");
            return;
        }
        assert_eq!(luner.health()["io"], io, "{:#?}", luner.logs());
        assert_eq!(luner.is_on_io_uring(), io == "io_uring", "log and health agree");
        luner.wait_log("io_uring could not be set up");
        assert_eq!(luner.post_chat("gpt-4o", "plain").content(), reply("plain"));
        assert_eq!(luner.ask(post_stream("gpt-4o", "stream")).content(), reply("stream"));
    }
}

/// Starts a gateway that may lock only this much memory.
fn start_with_locked_memory(url: &str, bytes: &str) -> Running {
    let limit = format!("--memlock={bytes}:{bytes}");
    // Root may lock any amount unless it loses CAP_IPC_LOCK, so `setpriv` drops it.
    let command = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", &limit];
    let command = if rustix::process::geteuid().is_root() { &command[..] } else { &command[3..] };
    Gateway::in_front_of(url).workers(2).wrap(command).env("LUNER_IO", "auto").start()
}

/// FAULTS.md row 64: the reason is logged once, not once per shard.
#[test]
fn failed_ring_setup_is_logged_once() {
    let luner = start_with_locked_memory("http://127.0.0.1:9/v1", "4096");
    if luner.is_on_io_uring() {
        println!("skipped: this kernel does not count a ring as locked memory");
        return;
    }
    let lines = luner.logs().iter().filter(|line| line.contains("io_uring could not")).count();
    assert_eq!(lines, 1, "{:#?}", luner.logs());
}

/// FAULTS.md row 63.
#[test]
fn running_out_of_descriptors_does_not_spin() {
    raise_descriptor_limit();
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url())
        .server(json!({ "read_timeout": "1s" }))
        .wrap(&["prlimit", "--nofile=64:64"])
        .start();
    let base = luner.open_fds();
    let mut clients: Vec<Raw> = (0..100).map(|_| luner.connect()).collect();
    luner.wait_log("cannot accept connections");
    // An unfinished request is refused after read_timeout, which is one second. luner must use little of that second.
    let before = luner.cpu_ticks();
    assert_eq!(clients[0].send("GET").answer().status, 408);
    let used = luner.cpu_ticks() - before;
    assert!(used < 50, "{used} hundredths of a second of processor time in one second");
    let lines = luner.logs().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert!(lines < 5, "a run of failures is logged once, not {lines} times");
    // An accepted connection is served.
    assert_eq!(clients[1].send(get("/v1/models")).answer().status, 200);
    drop(clients);
    eventually("descriptors return", || luner.open_fds() <= base);
    assert_eq!(luner.post_chat("gpt-4o", "again").content(), reply("again"));
}

#[test]
fn port_in_use_fails_the_start_with_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Scratch::new(&Gateway::in_front_of("http://127.0.0.1:9/v1").config_text());
    let output = run_luner(&["--config", config.path.to_str().unwrap(), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
}

#[test]
fn demo_answers_without_a_config_file() {
    let mut luner = Gateway::demo().start();
    assert_eq!(luner.post_chat("gpt-4o", "hello").content(), reply("hello"));
    assert_eq!(luner.ask(post_stream("any-model", "hello")).content(), reply("hello"));
    assert_eq!(luner.health()["status"], "ok");
    let greeting = luner.logs().join("\n");
    assert!(greeting.contains(&format!("Console    http://{}/\n", luner.addr())), "{greeting}");
    assert!(greeting.contains("curl ") && greeting.contains(&format!("http://{}/v1", luner.addr())), "{greeting}");
    let limited: Vec<u16> = (0..20).map(|_| luner.post_chat("gpt-4.1-nano", "hello").status).collect();
    assert!(limited.starts_with(&[200, 200, 200]) && limited.contains(&429), "{limited:?}");
    luner.signal(Signal::INT);
    assert_eq!(luner.wait_exit().code(), Some(0));
}

#[test]
fn log_of_refusals_is_limited_and_the_rest_is_counted() {
    let luner = Gateway::in_front_of("http://127.0.0.1:9/v1").start();
    let mut client = luner.connect();
    for _ in 0..400 {
        assert_eq!(client.send(get("/v1/nothing")).answer().status, 404);
    }
    let line = luner.wait_log("request log lines suppressed");
    let suppressed: Value = serde_json::from_str(&line).expect("JSON");
    let suppressed = suppressed["requests"].as_u64().expect("a number");
    assert!((1..=300).contains(&suppressed), "{line}");
}
