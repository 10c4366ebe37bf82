//! Faults within the events: line ends, comments, a missing end. Pure.

use crate::fault::Fault;

/// The events of a stream as `fault` changes them, and the end of each. `None` if the fault does not change events.
pub fn apply<'a>(fault: &Fault, events: impl Iterator<Item = &'a [u8]>) -> Option<(Vec<u8>, Vec<usize>)> {
    let events: Vec<&[u8]> = events.collect();
    let (last, before) = events.split_last()?;
    let all = |with: &dyn Fn(&[u8]) -> Vec<u8>| events.iter().map(|event| with(event)).collect();
    let changed: Vec<Vec<u8>> = match fault {
        Fault::NoDone => before.iter().map(|event| event.to_vec()).collect(),
        Fault::ErrorEvent => {
            let half = events.iter().take(events.len() / 2).map(|event| event.to_vec());
            half.chain([ERROR_EVENT.to_vec()]).collect()
        }
        Fault::CrlfEvents => all(&|event| with_line_ends(event, b"\r\n")),
        Fault::CrEvents => all(&|event| with_line_ends(event, b"\r")),
        Fault::BomEvents => {
            let mut changed: Vec<Vec<u8>> = all(&<[u8]>::to_vec);
            if let Some(first) = changed.first_mut() {
                first.splice(0..0, *b"\xef\xbb\xbf");
            }
            changed
        }
        Fault::CommentEvents => all(&|event| [b": keep-alive\n\nretry: 3000\n:\n".as_slice(), event].concat()),
        Fault::MultiDataEvents => all(&in_two_lines),
        Fault::HugeEvent(bytes) => {
            let huge = format!("data: {{\"choices\":[],\"padding\":\"{}\"}}\n\n", "x".repeat(*bytes));
            let first = before.iter().map(|event| event.to_vec());
            first.chain([huge.into_bytes(), last.to_vec()]).collect()
        }
        _ => return None,
    };
    let ends = changed.iter().scan(0, |end, event| {
        *end += event.len();
        Some(*end)
    });
    let ends = ends.collect();
    Some((changed.concat(), ends))
}

fn with_line_ends(event: &[u8], line_end: &[u8]) -> Vec<u8> {
    event.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(line_end)
}

/// Splits an event after its first brace, where JSON allows white space, so that it has two `data:` lines.
fn in_two_lines(event: &[u8]) -> Vec<u8> {
    let Some(brace) = event.iter().position(|byte| *byte == b'{') else {
        return event.to_vec();
    };
    let (before, after) = event.split_at(brace + 1);
    [before, b"\ndata: ", after].concat()
}

const ERROR_EVENT: &[u8] = b"data: {\"error\":{\"message\":\"The server had an error while processing your request.\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
