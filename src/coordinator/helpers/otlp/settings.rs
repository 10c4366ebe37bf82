//! The OTEL_* variables that an exporter of spans is told by, checked. Read once at the start; headers, compression and the
//! resource's attributes are read by the exporter itself. What luner cannot do is an error here, never ignored.

use std::path::PathBuf;
use std::time::Duration;

/// What is said, and what is not said by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whole, with the path.
    pub endpoint: String,
    /// Of a batch, with all its retries.
    pub timeout: Duration,
    /// PEM: whom to trust instead of the system's roots.
    pub certificate: Option<PathBuf>,
    /// Spans that may wait.
    pub queue_max: u64,
    /// Spans of a request to the collector.
    pub batch_max: usize,
    /// How long spans gather.
    pub delay: Duration,
    /// Whether the service has a name already.
    pub named: bool,
    /// Whether requests go too whose callers do not sample their traces.
    pub unsampled: bool,
}

/// Of OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_BSP_SCHEDULE_DELAY and OTEL_BSP_MAX_EXPORT_BATCH_SIZE: the specification's.
const TIMEOUT_MS: u64 = 10_000;
const DELAY_MS: u64 = 5_000;
const BATCH_MAX: u64 = 512;
/// Of OTEL_BSP_MAX_QUEUE_SIZE. Not the specification's 2,048: shards report hundreds of requests at once. About 20 MB.
const QUEUE_MAX: u64 = 16_384;

impl Settings {
    /// Reads them with `env`. `None` where nothing is to be exported.
    ///
    /// # Errors
    /// What is wrong, or not supported.
    pub fn read(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
        // The specification takes an empty variable for an unset one.
        let said = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let otlp = |name: &str| {
            said(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| said(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let endpoint = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| Some(format!("{}/v1/traces", said("OTEL_EXPORTER_OTLP_ENDPOINT")?.trim_end_matches('/'))));
        let Some(endpoint) = endpoint else { return Ok(None) };
        match said("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return Err(format!("OTEL_TRACES_EXPORTER is `{other}`; luner knows otlp and none")),
        }
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err("OTEL_EXPORTER_OTLP_ENDPOINT begins with neither http:// nor https://".into());
        }
        if let Some(other) = otlp("PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            return Err(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is `{other}`; luner speaks http/protobuf only, port 4318"
            ));
        }
        if otlp("CLIENT_CERTIFICATE").or_else(|| otlp("CLIENT_KEY")).is_some() {
            return Err("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is not supported".into());
        }
        // The specification's default: who samples is the caller's to say, and who says nothing is sampled.
        let unsampled = match said("OTEL_TRACES_SAMPLER").as_deref() {
            None | Some("parentbased_always_on") => false,
            Some("always_on") => true,
            Some(other) => {
                return Err(format!(
                    "OTEL_TRACES_SAMPLER is `{other}`; luner knows parentbased_always_on and always_on"
                ));
            }
        };
        let number = |name: &str, value: Option<String>, default: u64| match value.map(|value| value.parse()) {
            None => Ok(default),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(format!("{name} is no number above 0")),
        };
        let named = |attributes: String| attributes.split(',').any(|one| one.trim_start().starts_with("service.name="));
        let delay_ms = number("OTEL_BSP_SCHEDULE_DELAY", said("OTEL_BSP_SCHEDULE_DELAY"), DELAY_MS)?;
        let batch_max = said("OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
        let batch_max = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch_max, BATCH_MAX)?;
        Ok(Some(Settings {
            endpoint,
            timeout: Duration::from_millis(number("OTEL_EXPORTER_OTLP_TIMEOUT", otlp("TIMEOUT"), TIMEOUT_MS)?),
            certificate: otlp("CERTIFICATE").map(PathBuf::from),
            queue_max: number("OTEL_BSP_MAX_QUEUE_SIZE", said("OTEL_BSP_MAX_QUEUE_SIZE"), QUEUE_MAX)?,
            batch_max: usize::try_from(batch_max).unwrap_or(usize::MAX),
            delay: Duration::from_millis(delay_ms),
            named: said("OTEL_SERVICE_NAME").is_some() || said("OTEL_RESOURCE_ATTRIBUTES").is_some_and(named),
            unsampled,
        }))
    }

    /// For the log: without what may be a secret in it.
    pub fn shown_endpoint(&self) -> String {
        let (scheme, rest) = self.endpoint.split_once("://").unwrap_or(("", &self.endpoint));
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
    }

    const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Ok(None), "and nothing is complained of");
        assert_eq!(read(&[AT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(read(&[AT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    }

    #[test]
    fn the_endpoint_gets_its_path_unless_it_is_one_for_traces() {
        let endpoint = |variables: &[(&str, &str)]| read(variables).unwrap().unwrap().endpoint;
        assert_eq!(endpoint(&[AT]), "http://collector:4318/v1/traces");
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/")]), "https://c/otlp/v1/traces");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:1/as/is");
        assert_eq!(endpoint(&[AT, traces]), "http://other:1/as/is");
    }

    #[test]
    fn what_is_for_traces_wins() {
        let settings = read(&[
            AT,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "70"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=gate"),
        ]);
        let Settings { timeout, delay, queue_max, batch_max, named, .. } = settings.unwrap().unwrap();
        assert_eq!((timeout, delay), (Duration::from_millis(250), Duration::from_millis(100)));
        assert_eq!((queue_max, batch_max, named), (70, 7, true));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (name, value, said) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "neither http"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", "always_on"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0", "OTEL_BSP_SCHEDULE_DELAY"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem", "not supported"),
        ] {
            let reason = read(&[(name, value), AT]).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        }
    }

    #[test]
    fn the_log_shows_no_secret_of_the_endpoint() {
        let settings = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://me:secret@host:1/p?key=secret")]);
        assert_eq!(settings.unwrap().unwrap().shown_endpoint(), "https://host:1/p");
    }
}
