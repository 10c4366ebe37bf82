//! Reads and checks the OTEL_* variables that configure the export of spans. Read once at start; the exporter itself reads
//! headers, compression and the resource's attributes. A setting that luner does not support is an error, never ignored.

use std::path::PathBuf;
use std::time::Duration;

/// The settings, with defaults for variables that are not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The whole URL, with the path.
    pub endpoint: String,
    /// For a batch, with all its retries.
    pub timeout: Duration,
    /// A PEM file with the roots to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// Spans that may wait.
    pub queue_max: u64,
    /// Spans in one request to the collector.
    pub batch_max: usize,
    /// How long spans are collected for a batch.
    pub delay: Duration,
    /// Set if the environment gives the service a name.
    pub named: bool,
    /// Set if requests are exported even when their callers do not sample their traces.
    pub unsampled: bool,
}

/// Defaults of OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_BSP_SCHEDULE_DELAY and OTEL_BSP_MAX_EXPORT_BATCH_SIZE, from the specification.
const TIMEOUT_MS: u64 = 10_000;
const DELAY_MS: u64 = 5_000;
const BATCH_MAX: u64 = 512;
/// Default of OTEL_BSP_MAX_QUEUE_SIZE, about 20 MB. More than the specification's 2,048, because shards report hundreds of
/// requests at once.
const QUEUE_MAX: u64 = 16_384;

impl Settings {
    /// Reads the variables with `env`. Returns `None` if nothing is to be exported.
    ///
    /// # Errors
    /// A variable has an invalid or unsupported value; the text names it.
    pub fn read(env: &dyn Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
        // For the specification, an empty variable is not set.
        let set = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let otlp = |name: &str| {
            set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| Some(format!("{}/v1/traces", set("OTEL_EXPORTER_OTLP_ENDPOINT")?.trim_end_matches('/'))));
        let Some(endpoint) = endpoint else { return Ok(None) };
        match set("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return Err(format!("OTEL_TRACES_EXPORTER is `{other}`; luner knows otlp and none")),
        }
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err("OTEL_EXPORTER_OTLP_ENDPOINT starts with neither http:// nor https://".into());
        }
        if let Some(other) = otlp("PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            return Err(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is `{other}`; luner speaks http/protobuf only, port 4318"
            ));
        }
        if otlp("CLIENT_CERTIFICATE").or_else(|| otlp("CLIENT_KEY")).is_some() {
            return Err("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is not supported".into());
        }
        // The specification's default: the caller decides whether its trace is sampled, and if it does not say, it is.
        let unsampled = match set("OTEL_TRACES_SAMPLER").as_deref() {
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
            Some(_) => Err(format!("{name} is not a number above 0")),
        };
        let named = |attributes: String| {
            attributes.split(',').any(|attribute| attribute.trim_start().starts_with("service.name="))
        };
        let delay_ms = number("OTEL_BSP_SCHEDULE_DELAY", set("OTEL_BSP_SCHEDULE_DELAY"), DELAY_MS)?;
        let batch_max = set("OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
        let batch_max = number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch_max, BATCH_MAX)?;
        Ok(Some(Settings {
            endpoint,
            timeout: Duration::from_millis(number("OTEL_EXPORTER_OTLP_TIMEOUT", otlp("TIMEOUT"), TIMEOUT_MS)?),
            certificate: otlp("CERTIFICATE").map(PathBuf::from),
            queue_max: number("OTEL_BSP_MAX_QUEUE_SIZE", set("OTEL_BSP_MAX_QUEUE_SIZE"), QUEUE_MAX)?,
            batch_max: usize::try_from(batch_max).unwrap_or(usize::MAX),
            delay: Duration::from_millis(delay_ms),
            named: set("OTEL_SERVICE_NAME").is_some() || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(named),
            unsampled,
        }))
    }

    /// The endpoint for the log, without the parts that may contain secrets.
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
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Ok(None), "without a complaint");
        assert_eq!(read(&[AT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(read(&[AT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    }

    #[test]
    fn path_is_appended_unless_the_endpoint_is_for_traces() {
        let endpoint = |variables: &[(&str, &str)]| read(variables).unwrap().unwrap().endpoint;
        assert_eq!(endpoint(&[AT]), "http://collector:4318/v1/traces");
        assert_eq!(endpoint(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/")]), "https://c/otlp/v1/traces");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:1/as/is");
        assert_eq!(endpoint(&[AT, traces]), "http://other:1/as/is");
    }

    #[test]
    fn variables_for_traces_win() {
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
    fn unsupported_setting_is_named() {
        for (name, value, expected) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "neither http"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", "always_on"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT"),
            ("OTEL_BSP_SCHEDULE_DELAY", "0", "OTEL_BSP_SCHEDULE_DELAY"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem", "not supported"),
        ] {
            let reason = read(&[(name, value), AT]).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn logged_endpoint_contains_no_secret() {
        let settings = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://me:secret@host:1/p?key=secret")]);
        assert_eq!(settings.unwrap().unwrap().shown_endpoint(), "https://host:1/p");
    }
}
