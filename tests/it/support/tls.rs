//! A provider behind TLS, the authority that signs its certificate, and a record of what it received.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use serde_json::Value;

use super::{Gateway, Running, Scratch, Upstream, lock, ok_chat};

/// A certificate authority that the gateway may be told to trust.
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

    /// Starts a gateway that trusts this authority alone, in front of one provider with these settings.
    pub fn start_gateway(&self, url: impl AsRef<str>, settings: Value) -> Running {
        let gateway = Gateway::new().provider_with("openai", url, &["gpt-4o"], settings);
        gateway.env("SSL_CERT_FILE", self.file.path.to_str().expect("a path in UTF-8")).start()
    }

    /// A server with a valid certificate, except for this change.
    pub fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        self.server_of_versions(&[&TLS13, &TLS12], change)
    }

    pub fn server_of_versions(
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

/// What a provider received, before and after decryption.
#[derive(Clone, Default)]
pub struct Recording {
    bytes: Arc<Mutex<Vec<u8>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    /// Every byte that came over the sockets, still encrypted.
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
    }

    /// Bodies of the requests so far, decrypted.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }
}

/// A socket that records what it receives.
pub struct RecordedSocket<'s> {
    pub socket: &'s TcpStream,
    pub recording: Recording,
}

impl Read for RecordedSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(buffer)?;
        lock(&self.recording.bytes).extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl Write for RecordedSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The provider's end of one encrypted connection.
pub struct TlsConn<'s> {
    session: ServerConnection,
    socket: RecordedSocket<'s>,
    /// Decrypted bytes that no request has taken yet.
    pending: Vec<u8>,
}

impl<'s> TlsConn<'s> {
    pub fn new(config: &Arc<ServerConfig>, socket: &'s TcpStream, recording: &Recording) -> TlsConn<'s> {
        let session = ServerConnection::new(config.clone()).expect("a session");
        let socket = RecordedSocket { socket, recording: recording.clone() };
        TlsConn { session, socket, pending: Vec::new() }
    }

    /// Reads the first byte that follows the handshake.
    pub fn read_first_byte(&mut self) {
        let mut byte = [0; 1];
        let n = self.stream().read(&mut byte).expect("the request begins");
        self.pending.extend_from_slice(&byte[..n]);
    }

    fn stream(&mut self) -> rustls::Stream<'_, ServerConnection, RecordedSocket<'s>> {
        rustls::Stream::new(&mut self.session, &mut self.socket)
    }

    /// The body of the next request. `None` when the gateway closes, or never sends a whole request.
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
                    lock(&self.socket.recording.requests).push(body.clone());
                    return Some(body);
                }
            }
            let mut buffer = [0; 16 * 1024];
            let n = self.stream().read(&mut buffer).ok().filter(|n| *n > 0)?;
            self.pending.extend_from_slice(&buffer[..n]);
        }
    }

    /// Writes and flushes. Returns false when the gateway does not accept the bytes.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut stream = self.stream();
        stream.write_all(bytes.as_ref()).is_ok() && stream.flush().is_ok()
    }

    /// Tells the gateway that nothing follows, as TLS requires before an orderly end.
    pub fn send_close_notify(&mut self) {
        self.session.send_close_notify();
        let _ = self.session.complete_io(&mut self.socket);
    }

    pub fn answer_every_request(&mut self) {
        while self.request().is_some() {
            self.write(ok_chat("well"));
        }
    }
}

/// A provider that runs `first` on its first connection and answers every request on the others.
pub fn tls_upstream(
    config: &Arc<ServerConfig>,
    recording: &Recording,
    first: impl Fn(&mut TlsConn<'_>) + Send + Sync + 'static,
) -> Upstream {
    let (config, recording) = (config.clone(), recording.clone());
    Upstream::script(move |conn| {
        let mut tls = TlsConn::new(&config, conn.stream(), &recording);
        match conn.number {
            0 => first(&mut tls),
            _ => tls.answer_every_request(),
        }
    })
}

/// The provider's `base_url`.
pub fn https_url(upstream: &Upstream) -> String {
    format!("https://{}/v1", upstream.addr())
}

pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A server whose certificate no authority has signed.
pub fn self_signed_server() -> Arc<ServerConfig> {
    let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).expect("names");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).expect("a server"))
}
