use super::*;
use crate::seeded::Seeded;

type Outcome = (Result<usize, BodyError>, Vec<u8>);

fn whole(framing: Framing, input: &[u8]) -> Outcome {
    let mut out = Vec::new();
    (BodyDecoder::new(framing).feed(input, &mut out), out)
}

fn in_pieces<'i>(framing: Framing, pieces: impl Iterator<Item = &'i [u8]>) -> Outcome {
    let (mut decoder, mut out, mut used) = (BodyDecoder::new(framing), Vec::new(), 0);
    for piece in pieces {
        match decoder.feed(piece, &mut out) {
            Ok(bytes) => used += bytes,
            Err(error) => return (Err(error), out),
        }
    }
    (Ok(used), out)
}

fn assert_refused(input: &[u8], error: BodyError) {
    assert_eq!(whole(Framing::Chunked, input).0, Err(error), "{}", input.escape_ascii());
}

const LEGAL: [&[u8]; 9] = [
    b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1",
    b"5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n\r\n",
    b"000000000000000A;a=b;c;d=\"e;\\\"\\\\ f\t\"\r\n0123456789\r\n0;x\r\n\r\n",
    b"1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n",
    b"3\r\na\r\n\r\n0\r\nVary: *\r\nX:\r\nY: \xff\t\r\n\r\nrest",
    b"0\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\nabcde",
    b"5\r\nhel",
    b"2\r\nab\r\n",
];

const ILLEGAL: [(&[u8], BodyError); 41] = {
    use BodyError::*;
    [
        (b"\r\n", ChunkSizeMissing),
        (b"2\r\nab\r\n\r\n", ChunkSizeMissing),
        (b";a\r\n", ChunkSizeMissing),
        (b"\n", ChunkSizeMissing),
        (b"x\r\n", ChunkSizeNotHex),
        (b" 5\r\n", ChunkSizeNotHex),
        (b"-1\r\n", ChunkSizeNotHex),
        (b"+1\r\n", ChunkSizeNotHex),
        (b"0x5\r\n", ChunkSizeNotHex),
        (b"5 \r\n", ChunkSizeNotHex),
        (b"5 ;a\r\n", ChunkSizeNotHex),
        (b"5\t\r\n", ChunkSizeNotHex),
        (b"5_0\r\n", ChunkSizeNotHex),
        (b"5\0\r\n", ChunkSizeNotHex),
        (b"ffffffffffffffff\r\n", ChunkTooLarge),
        (b"10000000000000000\r\n", ChunkTooLarge),
        (b"10000000001\r\n", ChunkTooLarge),
        (b"00000000000000005\r\n", ChunkTooLarge),
        (b"5\nhello\r\n", ChunkLineEnd),
        (b"5\rhello", ChunkLineEnd),
        (b"5\r\r\n", ChunkLineEnd),
        (b"5;a\nhello", ChunkLineEnd),
        (b"5;a\rhello", ChunkLineEnd),
        (b"5;a=\"\n\"\r\n", ChunkLineEnd),
        (b"5;a=\"\r\n", ChunkExtension),
        (b"5;a=\"\\\r\n", ChunkExtension),
        (b"5;\r\n", ChunkExtension),
        (b"5;;a\r\n", ChunkExtension),
        (b"5;a=\r\n", ChunkExtension),
        (b"5;a=\"b\"c\r\n", ChunkExtension),
        (b"5; a\r\n", ChunkExtension),
        (b"5;a\0\r\n", ChunkExtension),
        (b"1\r\nab\r\n", ChunkDataEnd),
        (b"1\r\na\n", ChunkDataEnd),
        (b"1\r\na\rb", ChunkDataEnd),
        (b"0\r\n\n", Trailer),
        (b"0\r\n X: a\r\n", Trailer),
        (b"0\r\nGET / HTTP/1.1\r\n", Trailer),
        (b"0\r\nX: a\n", Trailer),
        (b"0\r\n: a\r\n", Trailer),
        (b"0\r\nX: a\rb", Trailer),
    ]
};

#[test]
fn chunks_are_decoded_to_their_payload() {
    assert_eq!(whole(Framing::Chunked, LEGAL[0]), (Ok(15), b"hello".to_vec()));
    assert_eq!(whole(Framing::Chunked, LEGAL[1]).1, b"hello world");
    assert_eq!(whole(Framing::Chunked, LEGAL[2]).1, b"0123456789");
    assert_eq!(whole(Framing::Chunked, LEGAL[3]).1, b"\n\r");
    let (used, payload) = whole(Framing::Chunked, LEGAL[4]);
    assert_eq!((used, payload.as_slice()), (Ok(LEGAL[4].len() - 4), b"a\r\n".as_slice()));
    assert_eq!(whole(Framing::Chunked, LEGAL[6]), (Ok(LEGAL[6].len() - 5), Vec::new()));
}

#[test]
fn malformed_chunks_are_refused() {
    for (input, error) in ILLEGAL {
        assert_refused(input, error);
    }
}

#[test]
fn chunked_body_decodes_the_same_at_every_split() {
    let illegal = ILLEGAL.iter().map(|(input, _)| *input);
    for input in LEGAL.into_iter().chain(illegal) {
        let expected = whole(Framing::Chunked, input);
        assert_eq!(in_pieces(Framing::Chunked, input.chunks(1)), expected);
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                let answer = in_pieces(Framing::Chunked, pieces.into_iter());
                assert_eq!(answer, expected, "{} at {first}, {second}", input.escape_ascii());
            }
        }
    }
}

#[test]
fn body_of_known_length_takes_exactly_that_many_bytes() {
    for first in 0..=8 {
        let input = b"helloGET";
        let pieces = [&input[..first], &input[first..]];
        let answer = in_pieces(Framing::Length(5), pieces.into_iter());
        assert_eq!(answer, (Ok(5), b"hello".to_vec()));
    }
    let mut decoder = BodyDecoder::new(Framing::Length(5));
    assert_eq!(decoder.remaining(), Some(5));
    assert_eq!(decoder.feed(b"hel", &mut Vec::new()), Ok(3));
    assert_eq!((decoder.remaining(), decoder.is_done()), (Some(2), false));
    assert_eq!(decoder.end_of_input(), Err(BodyError::LengthCutShort));
    assert_eq!(decoder.feed(b"lo", &mut Vec::new()), Ok(2));
    assert_eq!((decoder.remaining(), decoder.is_done()), (Some(0), true));
    assert_eq!(decoder.end_of_input(), Ok(()));
    assert_eq!(decoder.feed(b"GET", &mut Vec::new()), Ok(0));
}

#[test]
fn empty_body_is_done_before_its_first_byte() {
    for framing in [Framing::Empty, Framing::Length(0)] {
        let mut decoder = BodyDecoder::new(framing);
        assert!(decoder.is_done());
        assert_eq!(decoder.feed(b"x", &mut Vec::new()), Ok(0));
        assert_eq!(decoder.end_of_input(), Ok(()));
    }
}

#[test]
fn body_until_close_takes_every_byte_and_may_end_anywhere() {
    let mut decoder = BodyDecoder::new(Framing::UntilClose);
    let mut out = Vec::new();
    assert_eq!(decoder.feed(b"0\r\n\r\n", &mut out), Ok(5));
    assert_eq!(out, b"0\r\n\r\n");
    assert!(!decoder.is_done());
    assert_eq!((decoder.end_of_input(), decoder.remaining()), (Ok(()), None));
}

#[test]
fn truncated_chunked_body_is_an_error_at_every_byte() {
    let body = b"5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for cut in 0..body.len() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        assert_eq!(decoder.feed(&body[..cut], &mut Vec::new()), Ok(cut));
        assert_eq!(decoder.end_of_input(), Err(BodyError::ChunksCutShort), "{cut}");
    }
}

#[test]
fn refused_body_stays_refused() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    for input in [b"x".as_slice(), b"0\r\n\r\n", b""] {
        assert_eq!(decoder.feed(input, &mut Vec::new()), Err(BodyError::ChunkSizeNotHex));
    }
    assert_eq!(decoder.end_of_input(), Err(BodyError::ChunkSizeNotHex));
    assert!(!decoder.is_done());
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let long_line = [b"1;".as_slice(), &[b'a'; CHUNK_LINE_BYTES_MAX]].concat();
    assert_refused(&long_line, BodyError::ChunkLineTooLong);
    let fits = [b"0;".as_slice(), &[b'a'; CHUNK_LINE_BYTES_MAX - 3], b"\r\n\r\n"].concat();
    assert_eq!(whole(Framing::Chunked, &fits).0, Ok(fits.len()));
    let many = b"1;aaaaaaa\r\nx\r\n".repeat(CHUNK_EXTENSION_BYTES_MAX / 8 + 1);
    assert_refused(&many, BodyError::ChunkExtensionsTooLong);
    let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1)].concat();
    assert_refused(&trailers, BodyError::TrailersTooLong);
    // A model's stream has many small chunks, which must not add up to a limit.
    let tokens = b"1\r\nx\r\n".repeat(100_000);
    assert_eq!(whole(Framing::Chunked, &tokens).1.len(), 100_000);
}

#[test]
fn chunk_header_holds_the_length_in_hexadecimal() {
    for len in [1, 9, 10, 15, 16, 26, 255, 256, 4096, 65_537, usize::MAX] {
        let mut out = Vec::new();
        chunk_header(len, &mut out);
        assert_eq!(out, format!("{len:x}\r\n").into_bytes());
    }
    let mut out = Vec::new();
    chunk_header(0, &mut out);
    assert!(out.is_empty());
}

#[test]
fn random_bodies_never_panic_and_decode_the_same_in_random_pieces() {
    let alphabet: [&[u8]; 14] = [
        b"5\r\nhello\r\n",
        b"1\r\n",
        b"0\r\n",
        b"\r\n",
        b"\r\n",
        b"a",
        b"F",
        b";",
        b"=",
        b"\"",
        b"\\",
        b"\r",
        b"\n",
        b"A: b\r\n",
    ];
    let mut seeded = Seeded::new(15);
    let mut done = 0;
    for round in 0..60_000 {
        let bytes = seeded.soup(&alphabet, 12);
        let framing = match round % 8 {
            0 => Framing::Length(seeded.below(20) as u64),
            _ => Framing::Chunked,
        };
        let expected = whole(framing, &bytes);
        done += usize::from(matches!(expected.0, Ok(used) if used < bytes.len()));
        let cut = seeded.below(bytes.len() + 1);
        let pieces = [&bytes[..cut], &bytes[cut..]];
        assert_eq!(in_pieces(framing, pieces.into_iter()), expected, "{}", bytes.escape_ascii());
    }
    assert!(done > 100, "too few random bodies are complete: {done}");
}
