//! A name server that is silent at first, and then answers with a dead address before the right one (FAULTS.md row 19).
//! The test is skipped where it can neither mount nor listen on port 53.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::*;

/// Address of the name server. Arbitrary: a loopback address that no other program uses.
const SERVER: &str = "127.0.0.153";
const NAME: &str = "provider.luner-test.invalid";

/// A name server that answers once the test allows it.
struct NameServer {
    queries: Arc<AtomicUsize>,
    answers: Arc<AtomicBool>,
}

impl NameServer {
    /// `None` where this user may not listen on port 53.
    fn start() -> Option<NameServer> {
        let socket = UdpSocket::bind((SERVER, 53)).ok()?;
        let server = NameServer { queries: Arc::default(), answers: Arc::default() };
        let (queries, answers) = (server.queries.clone(), server.answers.clone());
        // The thread ends with the process. Until then it only waits.
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                queries.fetch_add(1, Ordering::AcqRel);
                if answers.load(Ordering::Acquire) {
                    let _ = socket.send_to(&answer(&buffer[..len]), from);
                }
            }
        });
        Some(server)
    }
}

/// The answer to a query for one name (RFC 1035, section 4): 127.0.0.2 and 127.0.0.1 for type A, nothing for other
/// types.
fn answer(question: &[u8]) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
    let is_a = question[name_end..name_end + 2] == [0, 1];
    let addresses: &[[u8; 4]] = if is_a { &[[127, 0, 0, 2], [127, 0, 0, 1]] } else { &[] };
    let mut bytes = question[..2].to_vec();
    // Flags: answer, recursion desired and available. Then the counts: one question, the addresses, nothing else.
    bytes.extend([0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    bytes.extend(&question[12..name_end + 4]);
    for address in addresses {
        // A pointer to the question's name, type A, class IN, a TTL of 60 s, four bytes.
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(address);
    }
    bytes
}

/// FAULTS.md row 19.
#[test]
fn silent_name_server_delays_no_other_provider_and_recovers() {
    if !can_mount() {
        return;
    }
    let Some(name_server) = NameServer::start() else {
        eprintln!("skipped: this user may not listen on port 53");
        return;
    };
    // Both listen on 127.0.0.1, so the first address of the answer refuses connections.
    let (slow, fast) = (Upstream::always(ok_chat("slow")), Upstream::always(ok_chat("fast")));
    let gateway = Gateway::new()
        .provider("slow", format!("http://{NAME}:{}/v1", slow.addr().port()), &["slow"])
        .provider("fast", fast.url(), &["gpt-4o"]);
    let scratch = Arc::new(Scratch::new(&gateway.config_text()));
    for (file, text) in [
        ("resolv.conf", format!("nameserver {SERVER}\noptions timeout:1 attempts:1\n")),
        ("nsswitch.conf", "hosts: files dns\n".to_owned()),
    ] {
        std::fs::write(scratch.folder.join(file), text).expect("a file for the resolver");
    }
    let mut wrap = with_mounts(
        "for file in resolv.conf nsswitch.conf; do [ ! -e /etc/$file ] || mount --bind \"$0/$file\" /etc/$file; done",
    );
    wrap.push(scratch.folder.to_str().expect("a path in UTF-8").to_owned());
    let luner = gateway.wrap(&wrap.iter().map(String::as_str).collect::<Vec<_>>()).start_in(scratch);
    eventually("the name server is queried", || name_server.queries.load(Ordering::Acquire) > 0);
    let mut caller = luner.connect();
    for _ in 0..50 {
        assert_eq!(caller.send(post_chat("gpt-4o", "x")).answer().status, 200);
    }
    let refused = luner.post_chat("slow", "x");
    assert_eq!((refused.status, refused.error_code().as_deref()), (502, Some("provider_error")));
    name_server.answers.store(true, Ordering::Release);
    eventually("the name resolves", || luner.post_chat("slow", "x").status == 200);
    assert_eq!(slow.requests()[0].header("host"), Some(&*format!("{NAME}:{}", slow.addr().port())));
}
