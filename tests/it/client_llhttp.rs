//! llhttp's own cases, over the wire (FAULTS.md row 27). `LUNER_CORPUS` names the folder that holds them; they are never
//! copied into the project.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::*;

/// A case of llhttp's own tests.
struct Case {
    name: String,
    kind: String,
    message: Vec<u8>,
    refused: bool,
}

// Row 27: every request that llhttp's strict mode refuses is refused here, over the wire.
#[test]
fn what_llhttp_refuses_in_strict_mode_is_refused_with_a_closed_connection() {
    let Some(corpus) = std::env::var_os("LUNER_CORPUS") else {
        println!("skipped: LUNER_CORPUS is not set, so llhttp's cases are not to be found");
        return;
    };
    let mock = mock();
    let luner = Gateway::before(mock.base_url()).start();
    let (mut judged, mut seen) = (0, BTreeSet::new());
    for case in cases(&Path::new(&corpus).join("llhttp/request")) {
        // A lenient case shows what a flag lets pass, so strict mode refuses its message.
        if case.refused || case.kind.contains("lenient") {
            judged += 1;
            seen.insert(refusal_of(&luner, &case));
        }
    }
    println!("{judged} requests of llhttp's are refused, with {seen:?}");
    assert!(judged > 60, "the corpus is not as expected: {judged}");
    assert_eq!(mock.totals().requests, 0);
}

/// Sends a case, sees its last answer refuse it and the connection close.
fn refusal_of(luner: &Running, case: &Case) -> u16 {
    let mut client = luner.connect();
    client.send(mended(&case.message));
    // A head is judged when it is whole: what llhttp refuses early is finished, so that it can be.
    client.try_send("\r\n\r\n").ok();
    client.half_close();
    let mut answers: Vec<Answer> = std::iter::from_fn(|| client.next_answer()).collect();
    let shown = format!("{}: {} got {answers:#?}", case.name, show(&case.message));
    let last = answers.pop().unwrap_or_else(|| panic!("{shown}"));
    assert_eq!(last.header("connection"), Some("close"), "{shown}");
    assert_eq!(last.status, 400, "{shown}");
    last.status
}

/// llhttp leaves Host and fragments to others, and there are tests of our own for them: mended, so that the rest is judged.
fn mended(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let line_end = message.windows(2).position(|two| two == b"\r\n").filter(|at| *at > 0);
    let Some(line_end) = line_end else { return message };
    message[..line_end].iter_mut().filter(|byte| **byte == b'#').for_each(|byte| *byte = b'-');
    if !message.to_ascii_lowercase().windows(6).any(|six| six == b"\nhost:") {
        message.splice(line_end + 2..line_end + 2, *b"Host: a\r\n");
    }
    message
}

/// The cases of a folder: in each file a heading, a `meta` comment, a block of `http`, a block of `log`.
fn cases(folder: &Path) -> Vec<Case> {
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
                    cases.push(Case {
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

/// Codes 21 to 23 are pauses: after a callback, at an upgrade, at HTTP/2's preface.
fn is_error(line: &str) -> bool {
    let code = line.split_once("error code=").map(|(_, rest)| rest);
    code.is_some_and(|rest| !["21 ", "22 ", "23 "].iter().any(|pause| rest.starts_with(pause)))
}

/// As llhttp's test runner does: a line end is CRLF, `\` before one removes it, the rest are the usual escapes.
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
