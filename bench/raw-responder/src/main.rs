//! The lower bound of luner's benchmarks: monoio alone. Reads a request without parsing it and writes the same 600
//! bytes each time, so that its processor time per request is the cost of the kernel and the runtime. One thread. Uses
//! io_uring with luner's ring settings, or epoll where that fails, and prints which.

use std::process::ExitCode;

use lexopt::prelude::*;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

fn main() -> ExitCode {
    let listen = match parse(lexopt::Parser::from_env()) {
        Ok(listen) => listen,
        Err(e) => {
            eprintln!("raw-responder: {e}\nusage: raw-responder --listen ADDR");
            return ExitCode::from(2);
        }
    };
    let mut ring = io_uring::IoUring::builder();
    ring.setup_coop_taskrun().setup_single_issuer();
    let served = match RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).build() {
        Ok(mut runtime) => runtime.block_on(serve(&listen, "io_uring")),
        Err(_) => match RuntimeBuilder::<LegacyDriver>::new().build() {
            Ok(mut runtime) => runtime.block_on(serve(&listen, "epoll")),
            Err(e) => Err(e),
        },
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("raw-responder: {e}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: lexopt::Parser) -> Result<String, lexopt::Error> {
    let mut listen = "127.0.0.1:0".to_owned();
    while let Some(arg) = args.next()? {
        match arg {
            Long("listen") => listen = args.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(listen)
}

async fn serve(listen: &str, io: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    println!("listening on http://{} with {io}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        monoio::spawn(respond(stream));
    }
}

/// Answers every read until the peer leaves.
async fn respond(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buf = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, back) = stream.read(buf).await;
        if !matches!(read, Ok(n) if n > 0) {
            return;
        }
        buf = back;
        let (written, _) = stream.write_all(ANSWER).await;
        if written.is_err() {
            return;
        }
    }
}

/// Read buffer. A request of the load generator fits into one read.
const BUFFER_BYTES: usize = 4096;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 528\r\n\r\n";
const BODY_BYTES: usize = 528;

/// 600 bytes, about the size of a short chat answer. The body is a JSON string of `x`.
static ANSWER: &[u8] = &{
    let mut answer = [b'x'; HEAD.len() + BODY_BYTES];
    let mut at = 0;
    while at < HEAD.len() {
        answer[at] = HEAD[at];
        at += 1;
    }
    answer[HEAD.len()] = b'"';
    answer[HEAD.len() + BODY_BYTES - 1] = b'"';
    answer
};

const _: () = assert!(ANSWER.len() == 600);
