//! The process as its operator sees it: how it starts, on what, how it stops (FAULTS.md rows 63 to 69).
//! Threads that stand still or fail are in `stalls` and `supervised`.

use std::net::TcpListener;

use serde_json::json;

use crate::support::*;

/// A provider that streams one event, then waits for `gate` before it ends the stream in order.
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

/// A caller in the middle of a stream.
#[track_caller]
fn streaming(luner: &Running) -> Raw {
    let mut client = luner.connect();
    assert_eq!(client.send(post_stream("gpt-4o", "x")).head().status, 200);
    assert_eq!(client.chunk(), Some(delta("first").into_bytes()));
    client
}

// Rows 66 and 69.
#[test]
fn a_stream_that_runs_is_finished_before_the_process_ends() {
    for signal in [Signal::TERM, Signal::INT] {
        let gate = Gate::new();
        let upstream = held_stream(&gate);
        let mut luner = Gateway::before(upstream.url()).workers(2).start();
        let mut stream = streaming(&luner);
        let mut idle = luner.connect();
        assert_eq!(idle.send(get("/v1/models")).answer().status, 200);
        let mut half = luner.connect();
        // The answer to the first shows that the half was read with it.
        half.send([get("/v1/models"), b"GET /api/health HTTP/1.1\r\nHost: ".to_vec()].concat());
        assert_eq!(half.answer().status, 200);

        luner.signal(signal);
        luner.wait_log("\"draining\"");
        assert!(idle.is_closed(), "who asks for nothing is not waited for long");
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

// Row 66.
#[test]
fn a_request_that_waits_for_its_provider_is_finished_too() {
    let gate = Gate::new();
    let held = gate.clone();
    let upstream = Upstream::script(move |conn| {
        conn.request();
        held.wait();
        conn.write(ok_chat("late"));
        conn.hold();
    });
    let mut luner = Gateway::before(upstream.url()).start();
    let mut client = luner.connect();
    client.send(post_chat("gpt-4o", "x"));
    eventually("it is under way", || upstream.requests().len() == 1);
    luner.signal(Signal::TERM);
    luner.wait_log("\"draining\"");
    gate.permit();
    assert_eq!(client.answer().said(), "late");
    assert!(client.is_closed());
    assert_eq!(luner.wait_exit().code(), Some(0));
}

// Row 66.
#[test]
fn an_idle_gateway_waits_for_nobody() {
    let mut luner = Gateway::before("http://127.0.0.1:9/v1").workers(2).start();
    let mut silent = luner.connect();
    luner.health();
    luner.signal(Signal::TERM);
    assert!(silent.is_closed());
    assert_eq!(luner.wait_exit().code(), Some(0));
}

// Row 67.
#[test]
fn a_second_signal_stops_at_once() {
    let gate = Gate::new();
    let upstream = held_stream(&gate);
    let mut luner = Gateway::before(upstream.url()).start();
    let mut stream = streaming(&luner);
    luner.signal(Signal::TERM);
    luner.wait_log("\"draining\"");
    assert!(luner.is_running());
    luner.signal(Signal::TERM);
    let status = luner.wait_exit();
    assert!(status.code().is_some(), "it ends by itself, {status}");
    // What the stream lacks is seen: neither its last event nor its last chunk came.
    let rest = stream.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n") || rest.windows(5).any(|five| five == b"error"), "{}", show(&rest));
    gate.permit();
}

// Row 66.
#[test]
fn who_does_not_finish_within_drain_timeout_is_cut() {
    let gate = Gate::new();
    let upstream = held_stream(&gate);
    let mut luner = Gateway::before(upstream.url()).server("drain_timeout: 300ms").start();
    let mut stream = streaming(&luner);
    luner.signal(Signal::TERM);
    assert_eq!(luner.wait_exit().code(), Some(0));
    assert!(luner.logs().iter().any(|line| line.contains("drain_timeout")), "it says so: {:#?}", luner.logs());
    let rest = stream.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n") || rest.windows(5).any(|five| five == b"error"), "{}", show(&rest));
    gate.permit();
}

// Row 67: a reader of our output or of an answer that is gone.
#[test]
fn a_broken_pipe_is_survived() {
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    luner.signal(Signal::PIPE);
    assert_eq!(luner.post_chat("gpt-4o", "x").status, 200);
}

#[test]
fn health_says_what_runs() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").workers(2).start();
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
    // The suite runs once on each driver, and on the one that it was told.
    match std::env::var("LUNER_IO").as_deref() {
        Ok("io_uring") => assert_eq!(io, "io_uring"),
        Ok("epoll") => assert_eq!(io, "epoll"),
        _ => {}
    }
    let body = answer.text();
    assert!(!body.contains("openai") && !body.contains("127.0.0.1"), "it says nothing of providers: {body}");
    assert_eq!(luner.ask(post("/api/health", "{}")).status, 405);
    assert_eq!(luner.ask(get("/api/nothing")).status, 404);
}

#[test]
fn either_driver_can_be_asked_for() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").env("LUNER_IO", "epoll").start();
    assert_eq!(luner.health()["io"], "epoll");
    let config = Scratch::new(&Gateway::before("http://127.0.0.1:9/v1").text());
    let path = config.path.to_str().unwrap();
    let output = luner_with(&["--config", path, "--listen", "127.0.0.1:0"], &[("LUNER_IO", "carrier-pigeon")]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("carrier-pigeon"));
}

// Row 64.
#[test]
fn scarce_locked_memory_means_a_smaller_ring_and_none_means_epoll() {
    let mock = mock();
    // Root may lock any amount, unless it may not: `setpriv` takes that away.
    let privileged = rustix::process::geteuid().is_root();
    let start = |bytes: &str| {
        let limit = format!("--memlock={bytes}:{bytes}");
        let command = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", &limit];
        let command = if privileged { &command[..] } else { &command[3..] };
        Gateway::before(mock.base_url()).workers(2).wrap(command).env("LUNER_IO", "auto").start()
    };
    for (bytes, io) in [("65536", "io_uring"), ("4096", "epoll")] {
        let luner = start(bytes);
        if luner.health()["io"] == "io_uring" && luner.logs().iter().all(|line| !line.contains("io_uring could not")) {
            println!("skipped: this kernel does not count a ring as locked memory");
            return;
        }
        assert_eq!(luner.health()["io"], io, "{:#?}", luner.logs());
        assert_eq!(luner.is_on_io_uring(), io == "io_uring", "the log and health tell the same");
        luner.wait_log("io_uring could not be set up");
        assert_eq!(luner.post_chat("gpt-4o", "plain").said(), reply("plain"));
        assert_eq!(luner.ask(post_stream("gpt-4o", "stream")).said(), reply("stream"));
    }
}

// Row 64: a reason once, not once a shard.
#[test]
fn a_ring_that_cannot_be_had_is_told_once() {
    let privileged = rustix::process::geteuid().is_root();
    let command = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=4096:4096"];
    let command = if privileged { &command[..] } else { &command[3..] };
    let luner = Gateway::before("http://127.0.0.1:9/v1").workers(2).wrap(command).env("LUNER_IO", "auto").start();
    if luner.is_on_io_uring() {
        println!("skipped: this kernel does not count a ring as locked memory");
        return;
    }
    let lines = luner.logs().iter().filter(|line| line.contains("io_uring could not")).count();
    assert_eq!(lines, 1, "{:#?}", luner.logs());
}

// Row 63.
#[test]
fn running_out_of_descriptors_is_survived_without_spinning() {
    raise_descriptor_limit();
    let mock = mock();
    let luner =
        Gateway::before(mock.base_url()).server("read_timeout: 1s").wrap(&["prlimit", "--nofile=64:64"]).start();
    let base = luner.open_fds();
    let mut clients: Vec<Raw> = (0..100).map(|_| luner.connect()).collect();
    luner.wait_log("cannot accept connections");
    // A request that is never finished takes read_timeout to be refused: a second of which luner must not use much.
    let before = luner.cpu_ticks();
    assert_eq!(clients[0].send("GET").answer().status, 408);
    let used = luner.cpu_ticks() - before;
    assert!(used < 50, "{used} hundredths of a second of processor time in one second");
    let told = luner.logs().iter().filter(|line| line.contains("cannot accept connections")).count();
    assert!(told < 5, "one line for a run of failures, not {told}");
    // Who is inside is served.
    assert_eq!(clients[1].send(get("/v1/models")).answer().status, 200);
    drop(clients);
    eventually("descriptors return", || luner.open_fds() <= base);
    assert_eq!(luner.post_chat("gpt-4o", "again").said(), reply("again"));
}

#[test]
fn a_taken_port_is_a_clear_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Scratch::new(&Gateway::before("http://127.0.0.1:9/v1").text());
    let output = luner(&["--config", config.path.to_str().unwrap(), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn the_demo_answers_without_a_file() {
    let mut luner = Gateway::demo().start();
    assert_eq!(luner.post_chat("gpt-4o", "hello").said(), reply("hello"));
    assert_eq!(luner.ask(post_stream("any-model", "hello")).said(), reply("hello"));
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
fn of_many_refusals_some_are_logged_and_the_rest_are_counted() {
    let luner = Gateway::before("http://127.0.0.1:9/v1").start();
    let mut client = luner.connect();
    for _ in 0..400 {
        assert_eq!(client.send(get("/v1/nothing")).answer().status, 404);
    }
    let told = luner.wait_log("more requests did not go well than are logged");
    let left_out =
        serde_json::from_str::<serde_json::Value>(&told).expect("JSON")["requests"].as_u64().expect("a number");
    assert!((1..=300).contains(&left_out), "{told}");
}
