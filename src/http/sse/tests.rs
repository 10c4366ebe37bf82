use super::*;
use crate::seeded::Seeded;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    raw: Vec<u8>,
    name: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
}

/// The events of a stream that comes in `pieces`, and what is left over.
fn split<'i>(pieces: impl Iterator<Item = &'i [u8]>) -> (Vec<Seen>, Vec<u8>) {
    let (mut splitter, mut events) = (EventSplitter::new(1 << 20), Vec::new());
    for piece in pieces {
        let pushed = splitter.push(piece, |event| {
            events.push(Seen {
                raw: event.raw.to_vec(),
                name: event.name().map(<[u8]>::to_vec),
                data: event.has_data().then(|| event.data().to_vec()),
            });
        });
        pushed.unwrap();
    }
    (events, splitter.pending().to_vec())
}

fn whole(stream: &[u8]) -> (Vec<Seen>, Vec<u8>) {
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
fn events_end_at_blank_lines_of_every_kind() {
    for stream in &STREAMS[..3] {
        assert_eq!(data_of(stream), [some("{\"a\":1}"), some("[DONE]")]);
        assert!(whole(stream).1.is_empty());
    }
    assert_eq!(data_of(STREAMS[3]), ["a", "b", "c", "d", "e"].map(some));
}

#[test]
fn a_byte_order_mark_belongs_to_no_field() {
    assert_eq!(data_of(STREAMS[4]), [some("bom"), some("b")]);
    assert_eq!(data_of(STREAMS[5]), [None, None, some("b")]);
    // Only one, and only at the start.
    assert_eq!(data_of(b"data: a\n\n\xEF\xBB\xBFdata: b\n\n"), [some("a"), None]);
}

#[test]
fn fields_are_read_as_the_standard_says() {
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
fn one_data_line_is_borrowed() {
    let stream = b"data: long enough to care\n\n".as_slice();
    let mut borrowed = false;
    let pushed = EventSplitter::new(100).push(stream, |event| {
        borrowed = matches!(event.data(), Cow::Borrowed(_));
        assert!(std::ptr::eq(event.raw, stream));
    });
    assert_eq!((pushed, borrowed), (Ok(()), true));
}

#[test]
fn a_stream_reads_alike_and_stays_whole_at_every_split() {
    let meaning =
        |events: &[Seen]| -> Vec<_> { events.iter().map(|event| (event.name.clone(), event.data.clone())).collect() };
    for stream in STREAMS {
        let (expected, _) = whole(stream);
        let expected = meaning(&expected);
        let assert_alike = |(events, left): (Vec<Seen>, Vec<u8>)| {
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
fn an_event_is_passed_on_with_its_last_byte() {
    for (stream, ends) in [
        (b"data: a\n\ndata: b\n\n".as_slice(), vec![9, 18]),
        (b"data: a\r\rdata: b\r\r", vec![9, 18]),
        // At the CR: whether a LF follows is not waited for.
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
fn a_line_feed_that_comes_late_leads_the_next_event() {
    let (events, left) = split([b"data: a\r\n\r".as_slice(), b"\ndata: b\r\n\r\n"].into_iter());
    assert_eq!(events[0].raw, b"data: a\r\n\r");
    assert_eq!(events[1].raw, b"\ndata: b\r\n\r\n");
    assert_eq!(events[1].data, some("b"));
    assert!(left.is_empty());
    // One that is there already goes with its event.
    assert_eq!(whole(b"data: a\r\n\r\ndata").0[0].raw, b"data: a\r\n\r\n");
}

#[test]
fn an_event_over_the_cap_is_refused_and_stays_refused() {
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
fn an_event_of_eight_mebibytes_costs_linear_time_in_small_pieces() {
    let stream = [b"data: ".as_slice(), &vec![b'x'; 8 << 20], b"\n\ndata: next\n\n"].concat();
    let (mut splitter, mut lengths) = (EventSplitter::new(16 << 20), Vec::new());
    for piece in stream.chunks(7) {
        splitter.push(piece, |event| lengths.push(event.data().len())).unwrap();
    }
    assert_eq!(lengths, [8 << 20, 4]);
    assert!(splitter.pending.capacity() <= PENDING_BYTES_KEPT);
}

/// The standard's algorithm, byte by byte and without any cleverness.
fn by_the_book(stream: &[u8]) -> Vec<Option<Vec<u8>>> {
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
fn random_streams_read_as_the_standard_reads_them() {
    let alphabet: [&[u8]; 12] =
        [b"data: a", b"data", b"data:", b"event: e", b":", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r", b"x", BOM];
    let mut seeded = Seeded::new(9);
    for _ in 0..60_000 {
        let stream = seeded.soup(&alphabet, 12);
        let expected = by_the_book(&stream);
        let size = 1 + seeded.below(4);
        for (events, left) in [whole(&stream), split(stream.chunks(size))] {
            let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
            assert_eq!(data, expected, "{}", stream.escape_ascii());
            let raws: Vec<&[u8]> = events.iter().map(|event| event.raw.as_slice()).collect();
            assert_eq!([raws.concat(), left].concat(), stream);
        }
    }
}
