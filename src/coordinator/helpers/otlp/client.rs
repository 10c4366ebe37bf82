//! Sends requests to the collector. Blocks the helper thread, which has no async runtime and sends one batch at a time. It
//! does not follow redirects, because headers may contain keys, and no request takes longer than the timeout.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Longer answers are cut off. Arbitrary: an answer has a few bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A blocking client.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    /// `timeout` is for a whole request, from resolving the name to the end of the answer. `certificate` is a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or contains no certificate.
    pub fn new(timeout: Duration, certificate: Option<&Path>) -> Result<Client, String> {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots(certificate)?)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("luner/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(timeout));
        Ok(Client { agent: config.build().new_agent() })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(head, &body[..]))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.send(request).map_err(|error| {
            // The exporter does not report the cause.
            tracing::debug!(%error, "request to the collector failed");
            error.into()
        })
    }
}

/// The certificates of the file, if there is one. Otherwise the system's, or the bundled ones if the system has none.
fn roots(certificate: Option<&Path>) -> Result<RootCerts, String> {
    let Some(path) = certificate else {
        let system = rustls_native_certs::load_native_certs().certs;
        let roots = system.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
        let roots: Vec<Certificate<'static>> = roots.collect();
        return Ok(if roots.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&roots) });
    };
    let bytes = std::fs::read(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let items = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let roots: Vec<Certificate<'static>> = items.collect();
    match roots.is_empty() {
        true => Err(format!("{} contains no certificate", path.display())),
        false => Ok(RootCerts::new_with_certs(&roots)),
    }
}
