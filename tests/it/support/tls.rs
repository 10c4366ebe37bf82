//! Providers behind TLS, and the authority that the gateway trusts.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use serde_json::Value;

use super::{Gateway, Running, Scratch, Upstream, lock, ok_chat};

/// Signs what the gateway is to trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, for `SSL_CERT_FILE`.
    file: Scratch,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let file = Scratch::new(&params.self_signed(&key).expect("a certificate").pem());
        Authority { issuer: Issuer::new(params, key), file }
    }

    /// A gateway that trusts this authority alone, before one provider.
    pub fn gateway(&self, url: impl AsRef<str>, lines: &str) -> Running {
        let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], lines);
        gateway.env("SSL_CERT_FILE", self.file.path.to_str().expect("a path in UTF-8")).start()
    }

    /// A server with a certificate that is as it should be but for this change.
    pub fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        self.speaks(&[&TLS13, &TLS12], change)
    }

    pub fn speaks(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("versions").with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).expect("a server"))
    }
}

/// What came over the socket, before and after decryption.
#[derive(Clone, Default)]
pub struct Seen {
    pub raw: Arc<Mutex<Vec<u8>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    /// Bodies of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }
}

/// A socket that remembers what it received.
pub struct Tap<'s> {
    pub socket: &'s TcpStream,
    pub seen: Seen,
}

impl Read for Tap<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(room)?;
        lock(&self.seen.raw).extend_from_slice(&room[..n]);
        Ok(n)
    }
}

impl Write for Tap<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The server's end of one encrypted connection.
pub struct Tls<'s> {
    pub session: ServerConnection,
    pub tap: Tap<'s>,
    pub pending: Vec<u8>,
}

impl<'s> Tls<'s> {
    pub fn new(config: &Arc<ServerConfig>, socket: &'s TcpStream, seen: &Seen) -> Tls<'s> {
        let session = ServerConnection::new(config.clone()).expect("a session");
        Tls { session, tap: Tap { socket, seen: seen.clone() }, pending: Vec::new() }
    }

    /// The body of the next request; nothing when the gateway closes, or does not come that far.
    pub fn request(&mut self) -> Option<String> {
        loop {
            let head_end = self.pending.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
            if let Some(at) = head_end {
                let head = std::str::from_utf8(&self.pending[..at]).expect("a head in UTF-8").to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let end = at + length.expect("a length").parse::<usize>().expect("a number");
                if self.pending.len() >= end {
                    let request: Vec<u8> = self.pending.drain(..end).collect();
                    let body = String::from_utf8(request[at..].to_vec()).expect("a body in UTF-8");
                    lock(&self.tap.seen.requests).push(body.clone());
                    return Some(body);
                }
            }
            let mut room = [0; 16 * 1024];
            let n = rustls::Stream::new(&mut self.session, &mut self.tap).read(&mut room).ok().filter(|n| *n > 0)?;
            self.pending.extend_from_slice(&room[..n]);
        }
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut stream = rustls::Stream::new(&mut self.session, &mut self.tap);
        stream.write_all(bytes.as_ref()).is_ok() && stream.flush().is_ok()
    }

    /// Says in the language of TLS that nothing follows.
    pub fn say_goodbye(&mut self) {
        self.session.send_close_notify();
        let _ = self.session.complete_io(&mut self.tap);
    }

    pub fn serve_well(&mut self) {
        while self.request().is_some() {
            self.write(ok_chat("well"));
        }
    }
}

/// A provider that runs `first` on its first connection, and serves well on the others.
pub fn upstream(
    config: &Arc<ServerConfig>,
    seen: &Seen,
    first: impl Fn(&mut Tls<'_>) + Send + Sync + 'static,
) -> Upstream {
    let (config, seen) = (config.clone(), seen.clone());
    Upstream::script(move |conn| {
        let mut tls = Tls::new(&config, conn.stream(), &seen);
        match conn.number {
            0 => first(&mut tls),
            _ => tls.serve_well(),
        }
    })
}

pub fn https(upstream: &Upstream) -> String {
    format!("https://{}/v1", upstream.addr())
}

pub fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

pub fn self_signed() -> Arc<ServerConfig> {
    let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).expect("a server"))
}
