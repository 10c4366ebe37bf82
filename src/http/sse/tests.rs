use super::*;
use crate::seeded::Seeded;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parsed {
    raw: Vec<u8>,
    name: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
}

/// Splits a stream that arrives in `pieces` into its events; also returns the bytes after the last event.
fn split<'i>(pieces: impl Iterator<Item = &'i [u8]>) -> (Vec<Parsed>, Vec<u8>) {
    let (mut splitter, mut events) = (EventSplitter::new(1 << 20), Vec::new());
    for piece in pieces {
        let pushed = splitter.push(piece, |event| {
            events.push(Parsed {
                raw: event.raw.to_vec(),
                name: event.name().map(<[u8]>::to_vec),
                data: event.has_data().then(|| event.data().to_vec()),
            });
        });
        pushed.unwrap();
    }
    (events, splitter.pending().to_vec())
}

fn whole(stream: &[u8]) -> (Vec<Parsed>, Vec<u8>) {
    split(std::iter::once(stream))
}

fn data_of(stream: &[u8]) -> Vec<Option<Vec<u8>>> {
    whole(stream).0.into_iter().map(|event| event.data).collect()
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

const STREAMS: [&[u8]; 16] = [
    b"data: {\"a\":1}\n\ndata: [DONE]\n\n",
    b"data: {\"a\":1}\r\n\r\ndata: [DONE]\r\n\r\n",
    b"data: {\"a\":1}\r\rdata: [DONE]\r\r",
    b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\rdata: d\n\rdata: e\r\n\r\n",
    b"\xEF\xBB\xBFdata: bom\n\ndata: b\n\n",
    b"\xEF\xBB\xBF\r\n\r\ndata: b\n\n",
    b"\xEF\xBB\xBF\xEF\xBB\xBF\n\n\n",
    b": keep-alive\n\n: x\r\n\r\ndata: a\n\n",
    b"event: message_start\ndata: one\ndata: two\ndata:three\n\n",
    b"\n\n\r\n\r\r\n\ndata\n\ndata:\n\n",
    b"data: Z\xc3\xbcrich \xf0\x9f\xa6\x80\n\n",
    b"id: 7\nretry: 10\nevent: x\nevent: y\n\ndata: unfinished\n",
    b"data: a\n\n\r\r\n\n\r",
    b"\r\n",
    b"",
    b"data:  two spaces\ndatax: no\nDATA: no\ndata : no\n\n",
];

#[test]
fn blank_line_of_any_kind_ends_an_event() {
    for stream in &STREAMS[..3] {
        assert_eq!(data_of(stream), [some("{\"a\":1}"), some("[DONE]")]);
        assert!(whole(stream).1.is_empty());
    }
    assert_eq!(data_of(STREAMS[3]), ["a", "b", "c", "d", "e"].map(some));
}

#[test]
fn byte_order_mark_belongs_to_no_field() {
    assert_eq!(data_of(STREAMS[4]), [some("bom"), some("b")]);
    assert_eq!(data_of(STREAMS[5]), [None, None, some("b")]);
    // Only one BOM is ignored, and only at the start of the stream.
    assert_eq!(data_of(b"data: a\n\n\xEF\xBB\xBFdata: b\n\n"), [some("a"), None]);
}

#[test]
fn fields_are_parsed_as_the_standard_says() {
    assert_eq!(data_of(STREAMS[7]), [None, None, some("a")]);
    let event = whole(STREAMS[8]).0.remove(0);
    assert_eq!((event.name, event.data), (some("message_start"), some("one\ntwo\nthree")));
    assert_eq!(data_of(b"data\n\ndata:\n\ndata: \n\n"), [some(""), some(""), some("")]);
    assert_eq!(data_of(b"data\ndata\n\n"), [some("\n")]);
    let (events, left) = whole(STREAMS[11]);
    assert_eq!((events[0].name.clone(), events[0].data.clone()), (some("y"), None));
    assert_eq!(left, b"data: unfinished\n");
    assert_eq!(data_of(STREAMS[15]), [some(" two spaces")]);
}

#[test]
fn single_data_line_is_borrowed() {
    let stream = b"data: long enough to care\n\n".as_slice();
    let mut borrowed = false;
    let pushed = EventSplitter::new(100).push(stream, |event| {
        borrowed = matches!(event.data(), Cow::Borrowed(_));
        assert!(std::ptr::eq(event.raw, stream));
    });
    assert_eq!((pushed, borrowed), (Ok(()), true));
}

#[test]
fn stream_parses_the_same_and_loses_no_byte_at_every_split() {
    let meaning =
        |events: &[Parsed]| -> Vec<_> { events.iter().map(|event| (event.name.clone(), event.data.clone())).collect() };
    for stream in STREAMS {
        let (expected, _) = whole(stream);
        let expected = meaning(&expected);
        let assert_alike = |(events, left): (Vec<Parsed>, Vec<u8>)| {
            assert_eq!(meaning(&events), expected, "{}", stream.escape_ascii());
            let raws: Vec<&[u8]> = events.iter().map(|event| event.raw.as_slice()).collect();
            assert_eq!([raws.concat(), left].concat(), stream);
        };
        assert_alike(split(stream.chunks(1)));
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_alike(split(pieces.into_iter()));
            }
        }
    }
}

#[test]
fn event_is_returned_with_its_last_byte() {
    for (stream, ends) in [
        (b"data: a\n\ndata: b\n\n".as_slice(), vec![9, 18]),
        (b"data: a\r\rdata: b\r\r", vec![9, 18]),
        // The event ends at the CR, without waiting for an LF that may follow.
        (b"data: a\r\n\r\ndata: b\r\n\r\n", vec![10, 21]),
    ] {
        let (mut splitter, mut seen) = (EventSplitter::new(100), Vec::new());
        for (at, byte) in stream.iter().enumerate() {
            splitter.push(&[*byte], |_| seen.push(at + 1)).unwrap();
        }
        assert_eq!(seen, ends);
    }
}

#[test]
fn late_line_feed_becomes_the_first_byte_of_the_next_event() {
    let (events, left) = split([b"data: a\r\n\r".as_slice(), b"\ndata: b\r\n\r\n"].into_iter());
    assert_eq!(events[0].raw, b"data: a\r\n\r");
    assert_eq!(events[1].raw, b"\ndata: b\r\n\r\n");
    assert_eq!(events[1].data, some("b"));
    assert!(left.is_empty());
    // An LF that has already arrived belongs to its event.
    assert_eq!(whole(b"data: a\r\n\r\ndata").0[0].raw, b"data: a\r\n\r\n");
}

#[test]
fn event_over_the_limit_fails_the_stream_for_good() {
    let event = b"data: 1234\n\n";
    let fits = |cap, cut: usize| {
        let mut splitter = EventSplitter::new(cap);
        splitter.push(&event[..cut], |_| ()).and_then(|()| splitter.push(&event[cut..], |_| ()))
    };
    for cut in 0..=event.len() {
        assert_eq!(fits(12, cut), Ok(()));
        assert_eq!(fits(11, cut), Err(EventTooLarge));
    }
    let (mut splitter, mut events) = (EventSplitter::new(11), 0);
    assert!(splitter.push(b"data: a\n\ndata: 1234\n\n", |_| events += 1).is_err());
    assert!(splitter.push(b"data: b\n\n", |_| events += 1).is_err());
    assert_eq!((events, splitter.pending().len()), (1, 0));
}

#[test]
fn event_of_eight_mebibytes_in_small_pieces_takes_linear_time() {
    let stream = [b"data: ".as_slice(), &vec![b'x'; 8 << 20], b"\n\ndata: next\n\n"].concat();
    let (mut splitter, mut lengths) = (EventSplitter::new(16 << 20), Vec::new());
    for piece in stream.chunks(7) {
        splitter.push(piece, |event| lengths.push(event.data().len())).unwrap();
    }
    assert_eq!(lengths, [8 << 20, 4]);
    assert!(splitter.pending.capacity() <= PENDING_BYTES_KEPT);
}

/// A literal implementation of the standard's algorithm, byte by byte.
fn reference_data(stream: &[u8]) -> Vec<Option<Vec<u8>>> {
    let text = stream.strip_prefix(BOM).unwrap_or(stream);
    let (mut lines, mut line, mut after_cr) = (Vec::new(), Vec::new(), false);
    for byte in text {
        match byte {
            b'\n' if after_cr => {}
            b'\r' | b'\n' => lines.push(std::mem::take(&mut line)),
            _ => line.push(*byte),
        }
        after_cr = *byte == b'\r';
    }
    let (mut events, mut data): (Vec<Option<Vec<u8>>>, Option<Vec<u8>>) = (Vec::new(), None);
    for line in lines {
        let value = match line.as_slice() {
            b"" => {
                events.push(data.take());
                continue;
            }
            b"data" => b"".as_slice(),
            line => match line.strip_prefix(b"data:") {
                Some(value) => value.strip_prefix(b" ").unwrap_or(value),
                None => continue,
            },
        };
        data = Some(match data {
            Some(before) => [&before, b"\n".as_slice(), value].concat(),
            None => value.to_vec(),
        });
    }
    events
}

#[test]
fn random_streams_parse_as_the_standard_says() {
    let alphabet: [&[u8]; 12] =
        [b"data: a", b"data", b"data:", b"event: e", b":", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b"x", BOM];
    let mut seeded = Seeded::new(9);
    for _ in 0..60_000 {
        let stream = seeded.soup(&alphabet, 12);
        let expected = reference_data(&stream);
        let size = 1 + seeded.below(4);
        for (events, left) in [whole(&stream), split(stream.chunks(size))] {
            let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
            assert_eq!(data, expected, "{}", stream.escape_ascii());
            let raws: Vec<&[u8]> = events.iter().map(|event| event.raw.as_slice()).collect();
            assert_eq!([raws.concat(), left].concat(), stream);
        }
    }
}
