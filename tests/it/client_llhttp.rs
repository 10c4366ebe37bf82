//! llhttp's own test cases, sent to luner (FAULTS.md row 27). `LUNER_CORPUS` names the folder that holds them; they are
//! not part of the project.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::*;

/// A test case of llhttp.
struct LlhttpCase {
    name: String,
    kind: String,
    message: Vec<u8>,
    refused: bool,
}

/// FAULTS.md row 27: luner refuses every request that llhttp's strict mode refuses.
#[test]
fn requests_refused_by_strict_llhttp_are_refused_here() {
    let Some(corpus) = std::env::var_os("LUNER_CORPUS") else {
        println!("skipped: LUNER_CORPUS does not name a folder with llhttp's test cases");
        return;
    };
    let mock = mock();
    let luner = Gateway::in_front_of(mock.base_url()).start();
    let (mut refused, mut statuses) = (0, BTreeSet::new());
    for case in cases(&Path::new(&corpus).join("llhttp/request")) {
        // A lenient case needs a flag to be accepted, so strict mode refuses it.
        if case.refused || case.kind.contains("lenient") {
            refused += 1;
            statuses.insert(assert_case_is_refused(&luner, &case));
        }
    }
    println!("{refused} requests of llhttp's are refused, with {statuses:?}");
    assert!(refused > 60, "the corpus has too few cases: {refused}");
    assert_eq!(mock.totals().requests, 0);
}

/// Sends a case and asserts that its last answer is a refusal that closes the connection. Returns the status.
fn assert_case_is_refused(luner: &Running, case: &LlhttpCase) -> u16 {
    let mut client = luner.connect();
    client.send(with_valid_host_and_target(&case.message));
    // luner judges a head once it is whole, llhttp may refuse it earlier. So the head is completed.
    client.try_send("\r\n\r\n").ok();
    client.half_close();
    let mut answers: Vec<Answer> = std::iter::from_fn(|| client.next_answer()).collect();
    let shown = format!("{}: {} got {answers:#?}", case.name, show(&case.message));
    let last = answers.pop().unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(last.header("connection"), Some("close"), "{shown}");
    assert_eq!(last.status, 400, "{shown}");
    last.status
}

/// Adds a missing Host and removes fragments. llhttp does not check them, and luner would refuse the message for them
/// alone; other tests cover that.
fn with_valid_host_and_target(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let line_end = message.windows(2).position(|two| two == b"\r\n").filter(|at| *at > 0);
    let Some(line_end) = line_end else { return message };
    message[..line_end].iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = b'-');
    if !message.to_ascii_lowercase().windows(6).any(|six| six == b"\nhost:") {
        message.splice(line_end + 2..line_end + 2, *b"Host: a\r\n");
    }
    message
}

/// The cases in a folder's Markdown files. A case is a heading, a `meta` comment, a block of `http` and a block of
/// `log`.
fn cases(folder: &Path) -> Vec<LlhttpCase> {
    let entries = std::fs::read_dir(folder).expect("LUNER_CORPUS points to the corpus");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let (stem, text) = (file.file_stem().unwrap().to_string_lossy(), std::fs::read_to_string(&file).unwrap());
        let (mut title, mut meta, mut message) = ("", "", String::new());
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut block = || lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
            match line {
                "```http" => message = block(),
                "```log" => {
                    let log = block();
                    let kind = meta.split("\"type\":").nth(1).and_then(|rest| rest.split('"').nth(1));
                    cases.push(LlhttpCase {
                        name: format!("{stem}: {title}"),
                        kind: kind.expect("every case has a type").to_owned(),
                        message: unescape(&message),
                        refused: log.contains("finish=2") || log.lines().any(is_error),
                    });
                }
                _ if line.starts_with('#') => title = line.trim_start_matches('#').trim(),
                _ if line.starts_with("<!-- meta=") => meta = line,
                _ => {}
            }
        }
    }
    cases
}

/// Whether a line of the log is an error. Codes 21 to 23 are pauses: after a callback, at an upgrade, at HTTP/2's
/// preface.
fn is_error(line: &str) -> bool {
    let code = line.split_once("error code=").map(|(_, rest)| rest);
    code.is_some_and(|rest| !["21 ", "22 ", "23 "].iter().any(|pause| rest.starts_with(pause)))
}

/// Unescapes a block as llhttp's test runner does: a line end is CRLF, a `\` before it removes it, the other escapes
/// are C's.
fn unescape(block: &str) -> Vec<u8> {
    let block = block.replace("\\\n", "").replace('\n', "\r\n");
    let (mut message, mut rest) = (Vec::new(), block.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let digits = |from: usize, radix: u32, most: usize| {
            let digits = after.iter().skip(from).take(most);
            digits.take_while(|digit| char::from(**digit).is_digit(radix)).count()
        };
        let number = |from: usize, length: usize, radix: u32| {
            let text = std::str::from_utf8(&after[from..from + length]).expect("ASCII digits");
            u8::from_str_radix(text, radix).expect("a byte")
        };
        let (value, used) = match (byte, after.first()) {
            (b'\\', Some(b'r')) => (b'\r', 1),
            (b'\\', Some(b'n')) => (b'\n', 1),
            (b'\\', Some(b't')) => (b'\t', 1),
            (b'\\', Some(b'f')) => (b'\x0c', 1),
            (b'\\', Some(b'x')) => (number(1, digits(1, 16, 2), 16), 1 + digits(1, 16, 2)),
            (b'\\', Some(b'0'..=b'7')) => (number(0, digits(0, 8, 3), 8), digits(0, 8, 3)),
            _ => (*byte, 0),
        };
        message.push(value);
        rest = &after[used..];
    }
    message
}
