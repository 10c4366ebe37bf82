//! Runs llhttp's own test cases against luner's parsers: a message that llhttp's strict mode refuses must be refused here.
//! Tests only. `LUNER_CORPUS` names the folder that holds the corpus; the corpus is never copied into the project.

use std::path::Path;

use super::body::BodyDecoder;
use super::head::{Framing, HeadError, HeadLimits, HeadScan, Method, plausible_response_start, request, response};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 64 * 1024, headers: 100 };

/// Messages that llhttp accepts and luner refuses, with the reason.
const REFUSED_BY_US: [(&str, &str); 34] = [
    ("request/connection: CRLF between requests, implicit `keep-alive`", EMPTY_LINES),
    ("request/method: REPORT request", FOREIGN_METHOD),
    ("request/method: CONNECT request", NO_TUNNEL),
    ("request/method: CONNECT request with CAPS", NO_TUNNEL),
    ("request/method: CONNECT with body", NO_TUNNEL),
    ("request/method: M-SEARCH request", FOREIGN_METHOD),
    ("request/method: PURGE request", FOREIGN_METHOD),
    ("request/method: SEARCH request", FOREIGN_METHOD),
    ("request/method: LINK request", FOREIGN_METHOD),
    ("request/method: LINK request", FOREIGN_METHOD),
    ("request/method: SOURCE request", FOREIGN_METHOD),
    ("request/method: SOURCE request with ICE", NOT_HTTP1),
    ("request/method: OPTIONS request with RTSP", NOT_HTTP1),
    ("request/method: ANNOUNCE request with RTSP", NOT_HTTP1),
    ("request/method: PRI request HTTP2", NOT_HTTP1),
    ("request/method: QUERY request", FOREIGN_METHOD),
    ("request/sample: No HTTP version", NOT_HTTP1),
    ("request/transfer-encoding: POST with `chunked` as last transfer-encoding", ONLY_CHUNKED),
    ("request/transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)", ONLY_CHUNKED),
    ("request/uri: Host terminated by a query string", ORIGIN_FORM),
    ("request/uri: `host:port` terminated by a query string", ORIGIN_FORM),
    ("request/uri: `host:port` terminated by a space", ORIGIN_FORM),
    ("request/uri: Underscore in hostname", NO_TUNNEL),
    ("request/uri: `host:port` and basic auth", ORIGIN_FORM),
    ("response/connection: HTTP 304 with Content-Length", EMPTY_BEFORE_STATUS),
    ("response/connection: HTTP 100 first, then 400", EMPTY_BEFORE_STATUS),
    ("response/pipelining: Should parse multiple events", EMPTY_BEFORE_STATUS),
    ("response/sample: RTSP response", NOT_HTTP1),
    ("response/sample: ICE response", NOT_HTTP1),
    ("response/sample: HTTP version 0.9", NOT_HTTP1),
    ("response/sample: Response starting with CRLF", EMPTY_BEFORE_STATUS),
    ("response/transfer-encoding: `chunked` before other transfer-encoding", ONLY_CHUNKED),
    ("response/transfer-encoding: multiple transfer-encoding where chunked is not the last one", ONLY_CHUNKED),
    ("response/transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding", ONLY_CHUNKED),
];
const FOREIGN_METHOD: &str = "HTTP itself does not define the method, and no route accepts it";
const EMPTY_LINES: &str = "two empty lines before a request; one is tolerated";
const EMPTY_BEFORE_STATUS: &str = "only a server may skip an empty line (RFC 9112 §2.2)";
const NO_TUNNEL: &str = "luner does not open tunnels";
const ORIGIN_FORM: &str = "luner is not a forward proxy; its targets start with '/'";
const NOT_HTTP1: &str = "only HTTP/1.0 and HTTP/1.1 are supported";
const ONLY_CHUNKED: &str = "luner accepts no other coding, and could not decode one";

struct Case {
    name: String,
    kind: String,
    skip_body: bool,
    message: Vec<u8>,
    refused: bool,
}

#[test]
fn messages_that_strict_llhttp_refuses_are_refused() {
    let Some(corpus) = std::env::var_os("LUNER_CORPUS") else {
        println!("skipped: LUNER_CORPUS is not set, so llhttp's cases cannot be found");
        return;
    };
    let root = Path::new(&corpus).join("llhttp");
    let (mut unexpected, mut read_by_us, mut refused_by_us) = (Vec::new(), Vec::new(), Vec::new());
    let mut judged = [0; 3];
    for side in ["request", "response"] {
        for case in read_cases(&root.join(side), side) {
            let verdict = judge(&case);
            // A lenient case needs a flag to pass, so strict mode refuses its message.
            let lenient = case.kind.contains("lenient");
            judged[if lenient { 2 } else { usize::from(case.refused) }] += 1;
            match verdict {
                Ok(()) if lenient => unexpected.push(format!("read: {}", case.name)),
                Ok(()) if case.refused => read_by_us.push(case.name),
                Err(fault) if !lenient && !case.refused => {
                    println!("refused by luner only: {}: {fault}", case.name);
                    refused_by_us.push(case.name);
                }
                _ => {}
            }
        }
    }
    println!(
        "llhttp accepts {} messages, refuses {}, and accepts {} with a flag only",
        judged[0], judged[1], judged[2]
    );
    assert!(judged.iter().all(|count| *count > 30), "the corpus is not as expected");
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    assert_eq!(read_by_us, Vec::<String>::new());
    assert_eq!(refused_by_us, REFUSED_BY_US.map(|(name, _)| name));
}

fn read_cases(folder: &Path, side: &str) -> Vec<Case> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("LUNER_CORPUS points to the corpus")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(&file).unwrap();
        cases_of(&format!("{side}/{stem}"), &text, &mut cases);
    }
    cases
}

/// Parses the cases of one file. Each has a heading, a `meta` comment, an `http` block and a `log` block.
fn cases_of(file: &str, text: &str, cases: &mut Vec<Case>) {
    let (mut title, mut meta, mut message) = ("", "", String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut block =
            || -> String { lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect() };
        match line {
            "```http" => message = block(),
            "```log" => {
                let log = block();
                let kind = meta.split("\"type\":").nth(1).and_then(|rest| rest.split('"').nth(1));
                cases.push(Case {
                    name: format!("{file}: {title}"),
                    kind: kind.expect("every case has a type").to_owned(),
                    skip_body: meta.contains("skipBody"),
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

/// Codes 21 to 23 are pauses, not errors: after a callback, at an upgrade, at the HTTP/2 preface.
fn is_error(line: &str) -> bool {
    line.split_once("error code=")
        .is_some_and(|(_, rest)| !["21 ", "22 ", "23 "].iter().any(|pause| rest.starts_with(pause)))
}

/// Decodes a block as llhttp's test runner does: a line end becomes CRLF, a `\` before a line end removes it, and the other
/// escapes are the usual ones.
fn unescape(block: &str) -> Vec<u8> {
    let block = block.strip_suffix('\n').unwrap_or(block).replace("\\\n", "").replace('\n', "\r\n");
    let (mut message, mut rest) = (Vec::new(), block.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digits = |from: usize, radix: u32, most: usize| {
            after.iter().skip(from).take(most).take_while(|digit| char::from(**digit).is_digit(radix)).count()
        };
        let (value, length) = match (byte, after.first()) {
            (b'\\', Some(b'r')) => (b'\r', 1),
            (b'\\', Some(b'n')) => (b'\n', 1),
            (b'\\', Some(b't')) => (b'\t', 1),
            (b'\\', Some(b'f')) => (b'\x0c', 1),
            (b'\\', Some(b'x')) => {
                let hex = std::str::from_utf8(&after[1..1 + digits(1, 16, 2)]).unwrap();
                (u8::from_str_radix(hex, 16).unwrap(), 1 + hex.len())
            }
            (b'\\', Some(b'0'..=b'7')) => {
                let octal = std::str::from_utf8(&after[..digits(0, 8, 3)]).unwrap();
                (u8::from_str_radix(octal, 8).unwrap(), octal.len())
            }
            _ => (*byte, 0),
        };
        message.push(value);
        rest = &rest[length..];
    }
    message
}

/// Reads every message of the case as a connection would. `Err` is the reason for which it stopped.
fn judge(case: &Case) -> Result<(), String> {
    let mut rest = case.message.clone();
    let finish = case.kind.contains("finish");
    while !rest.is_empty() {
        let head = match HeadScan::default().advance(&rest, &LIMITS) {
            Err(error) => return Err(error.to_string()),
            Ok(Some(length)) => rest[..length].to_vec(),
            Ok(None) if finish => return Err("cut short".to_owned()),
            // A head is parsed only when it is complete. Completing it tells a malformed head from an unfinished one.
            Ok(None) if case.refused => {
                rest.extend_from_slice(b"\r\n\r\n");
                HeadScan::default().advance(&rest, &LIMITS).map_err(|error| error.to_string())?;
                rest.clone()
            }
            Ok(None) => return Ok(()),
        };
        let parsed = match case.kind.starts_with("response") {
            true => judge_response(case, &head),
            false => request(&head, &LIMITS).map(|head| (head.framing, head.keep_alive, head.upgrade)),
        };
        let (framing, keep_alive, upgrade) = match parsed {
            Ok(parsed) => parsed,
            // llhttp does not check these two rules, and luner has its own tests for them. The message is corrected so
            // that the rest of it can be judged.
            Err(HeadError::HostMissing) => {
                let start = rest.len() - rest.trim_ascii_start().len();
                let line = rest[start..].iter().position(|byte| *byte == b'\n').unwrap();
                rest.splice(start + line + 1..start + line + 1, *b"Host: a\r\n");
                continue;
            }
            Err(HeadError::TargetFragment) => {
                let fragment = rest.iter().position(|byte| *byte == b'#').unwrap();
                rest[fragment] = b'-';
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut decoder = BodyDecoder::new(framing);
        let body = &rest[head.len().min(rest.len())..];
        let used = decoder.feed(body, &mut Vec::new()).map_err(|error| error.to_string())?;
        if finish {
            decoder.end_of_input().map_err(|error| error.to_string())?;
        }
        // llhttp treats the bytes after an upgrade as another protocol.
        if upgrade || (!decoder.is_done() && used == body.len()) {
            return Ok(());
        }
        rest = body[used..].to_vec();
        if !keep_alive && !rest.is_empty() {
            return Err("bytes after the last message".to_owned());
        }
    }
    Ok(())
}

fn judge_response(case: &Case, head: &[u8]) -> Result<(Framing, bool, bool), HeadError> {
    if !plausible_response_start(head) {
        return Err(HeadError::StatusLine);
    }
    let asked = if case.skip_body { Method::Head } else { Method::Get };
    response(head, &LIMITS, asked).map(|head| (head.framing, head.keep_alive, head.status == 101))
}
