//! A name server that says nothing at first, and then names an address where nobody listens before the right one. Where a
//! test may neither have mounts of its own nor listen on port 53, this is not tested.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::*;

/// Nobody else's on a usual machine.
const SERVER: &str = "127.0.0.153";
const NAME: &str = "provider.luner-test.invalid";

/// A name server that answers once it is told to.
struct Names {
    asked: Arc<AtomicUsize>,
    answers: Arc<AtomicBool>,
}

impl Names {
    /// `None` where port 53 is not ours to have.
    fn start() -> Option<Names> {
        let socket = UdpSocket::bind((SERVER, 53)).ok()?;
        let names = Names { asked: Arc::default(), answers: Arc::default() };
        let (asked, answers) = (names.asked.clone(), names.answers.clone());
        // Ends with the process: a socket that waits costs nothing.
        thread::spawn(move || {
            let mut room = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut room) {
                asked.fetch_add(1, Ordering::AcqRel);
                if answers.load(Ordering::Acquire) {
                    let _ = socket.send_to(&answer(&room[..len]), from);
                }
            }
        });
        Some(names)
    }
}

/// To a question of one name (RFC 1035, section 4): 127.0.0.2 and 127.0.0.1 for an A, nothing for another type.
fn answer(question: &[u8]) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name ends") + 1;
    let is_a = question[name_end..name_end + 2] == [0, 1];
    let addresses: &[[u8; 4]] = if is_a { &[[127, 0, 0, 2], [127, 0, 0, 1]] } else { &[] };
    let mut bytes = question[..2].to_vec();
    // An answer, recursion desired and available, one question, so many answers.
    bytes.extend([0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    bytes.extend(&question[12..name_end + 4]);
    for address in addresses {
        // The question's name, A, IN, for a minute, four bytes.
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(address);
    }
    bytes
}

// 19
#[test]
fn a_name_server_that_is_silent_holds_nobody_else_up_and_is_heard_when_it_answers() {
    if !has_mounts() {
        return;
    }
    let Some(names) = Names::start() else {
        eprintln!("not tested: port 53 is not this user's to listen on");
        return;
    };
    // On 127.0.0.1 alone: nobody listens at the first address.
    let (slow, fast) = (Upstream::always(ok_chat("slow")), Upstream::always(ok_chat("fast")));
    let gateway = Gateway::new()
        .provider("slow", format!("http://{NAME}:{}/v1", slow.addr().port()), &["slow"])
        .provider("fast", fast.url(), &["gpt-4o"]);
    let scratch = Arc::new(Scratch::new(&gateway.text()));
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
    eventually("the name server is asked", || names.asked.load(Ordering::Acquire) > 0);
    let mut caller = luner.connect();
    for _ in 0..50 {
        assert_eq!(caller.send(post_chat("gpt-4o", "x")).answer().status, 200);
    }
    let refused = luner.post_chat("slow", "x");
    assert_eq!((refused.status, refused.error_code().as_deref()), (502, Some("provider_error")));
    names.answers.store(true, Ordering::Release);
    eventually("the name has addresses", || luner.post_chat("slow", "x").status == 200);
    assert_eq!(slow.requests()[0].header("host"), Some(&*format!("{NAME}:{}", slow.addr().port())));
}
