//! The console's files, which each shard serves on its own: no call leaves the core for them. Pure. Names are compared with
//! those of the embedded files, and nothing is decoded, so that path traversal is impossible (tests/FAULTS.md row 35).

use super::head::{self, Frame};
use crate::console::{self, File, Mount};
use crate::http::head::{KnownHeader, RequestHead};
use crate::shard::ground::Date;

/// A requested file, ready to be sent.
#[derive(Debug)]
pub(crate) struct Page {
    file: File,
    media: &'static str,
    encoding: Option<&'static str>,
    /// The name changes with the content, so the file may be cached for good.
    immutable: bool,
    /// The caller has this version already.
    not_modified: bool,
}

/// The source of files: [`console::file`], or a list in tests.
type Files<'f> = &'f dyn Fn(&str) -> Option<File>;

/// Finds the file at this path of the console.
pub(crate) fn find(head: &RequestHead<'_>, path: &str, mount: &Mount) -> Option<Page> {
    let files = |name: &str| match name {
        "index.html" => Some(mount.page().clone()),
        // A compressed index.html would hold another base path than the mounted one.
        name if name.starts_with("index.html.") => None,
        name => console::file(name),
    };
    let header = |known| head.first(known).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
    let matches = head.headers().find(|header| header.name.eq_ignore_ascii_case("if-none-match"));
    let matches = matches.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or_default();
    let wanted =
        Wanted { path, accept: header(KnownHeader::Accept), encodings: header(KnownHeader::AcceptEncoding), matches };
    wanted.find(&files)
}

/// What a request says about the file it wants.
struct Wanted<'h> {
    path: &'h str,
    accept: &'h str,
    encodings: &'h str,
    /// `If-None-Match`.
    matches: &'h str,
}

impl Wanted<'_> {
    fn find(&self, files: Files<'_>) -> Option<Page> {
        let name = self.name(files)?;
        let (_, ending) = name.rsplit_once('.')?;
        let (_, media) = MEDIA.iter().find(|(known, _)| *known == ending)?;
        let encoded = ENCODINGS
            .iter()
            .filter(|(coding, _)| accepts(self.encodings, coding))
            .find_map(|(coding, ending)| files(&format!("{name}.{ending}")).map(|file| (file, Some(*coding))));
        let (file, encoding) = match encoded {
            Some(encoded) => encoded,
            None => (files(name)?, None),
        };
        let mut tags = self.matches.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
        let not_modified = tags.any(|tag| tag == file.etag || tag == "*");
        Some(Page { file, media, encoding, immutable: name.starts_with("assets/"), not_modified })
    }

    /// The file's name. A path that is a route of the console, not a file, gets `index.html`.
    fn name(&self, files: Files<'_>) -> Option<&str> {
        let name = self.path.strip_prefix('/')?;
        if name.is_empty() {
            return Some("index.html");
        }
        // Compressed files are reached through the names of the originals only.
        if !ENCODINGS.iter().any(|(_, ending)| name.ends_with(ending)) && files(name).is_some() {
            return Some(name);
        }
        let place = |segment: &str| {
            !segment.is_empty()
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let api = name == "api" || name == "v1" || name.starts_with("api/") || name.starts_with("v1/");
        let page = !api && name.split('/').all(place) && self.accept.contains("text/html");
        page.then_some("index.html")
    }
}

/// Media types by file extension; other extensions are not served.
const MEDIA: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("json", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("txt", "text/plain; charset=utf-8"),
    ("woff2", "font/woff2"),
    ("map", "application/json"),
];

/// Content codings and the extensions of their files, the best compression first.
const ENCODINGS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// Whether `Accept-Encoding` names this coding and does not refuse it (RFC 9110, section 12.5.3).
fn accepts(encodings: &str, coding: &str) -> bool {
    encodings.split(',').any(|part| {
        let (named, weight) = part.split_once(';').unwrap_or((part, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        named.trim().eq_ignore_ascii_case(coding) && !refused
    })
}

/// Content Security Policy: the console may load from and talk to its own origin only. Style attributes set by scripts do not
/// count as inline styles.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    object-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'";

/// Appends the answer: the file, or a 304.
pub(crate) fn answer(page: &Page, frame: &Frame, date: &Date, out: &mut Vec<u8>) {
    let status = if page.not_modified { 304 } else { 200 };
    head::open(status, frame, date, out);
    let caching = if page.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    for (name, value) in [
        ("ETag", page.file.etag.as_str()),
        ("Cache-Control", caching),
        ("Vary", "Accept-Encoding"),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ] {
        head::header(name, value.as_bytes(), out);
    }
    if page.not_modified {
        out.extend_from_slice(b"\r\n");
        return;
    }
    head::header("Content-Type", page.media.as_bytes(), out);
    if let Some(encoding) = page.encoding {
        head::header("Content-Encoding", encoding.as_bytes(), out);
    }
    head::length(page.file.bytes.len(), out);
    if !frame.head_only {
        out.extend_from_slice(&page.file.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 6] =
        ["index.html", "index.html.br", "index.html.gz", "assets/index-1a.js", "assets/index-1a.js.gz", "favicon.svg"];

    fn files(name: &str) -> Option<File> {
        let bytes = NAMES.into_iter().find(|known| *known == name)?.as_bytes();
        Some(File { bytes: bytes.into(), etag: format!("\"{name}\"") })
    }

    fn wanted(path: &str) -> Wanted<'_> {
        Wanted { path, accept: "text/html,*/*", encodings: "", matches: "" }
    }

    /// The name of the file that is found.
    fn found(wanted: &Wanted<'_>) -> Option<String> {
        wanted.find(&files).map(|page| String::from_utf8(page.file.bytes.into_owned()).unwrap())
    }

    #[test]
    fn console_routes_get_the_page() {
        for path in ["/", "/traces", "/traces/0af7651916cd43dd8448eb211c80319c", "/policies/pol_1a-2", "/apis"] {
            assert_eq!(found(&wanted(path)).as_deref(), Some("index.html"), "{path}");
        }
        assert_eq!(found(&Wanted { accept: "application/json", ..wanted("/traces") }), None);
        assert_eq!(found(&Wanted { accept: "", ..wanted("/") }).as_deref(), Some("index.html"));
        for path in ["/api", "/api/nothing", "/v1", "/v1/nothing", "/traces/x.y", "/favicon.ico", "/assets/other.js"] {
            assert_eq!(found(&wanted(path)), None, "{path}");
        }
    }

    /// FAULTS.md row 35.
    #[test]
    fn path_traversal_finds_nothing() {
        for path in [
            "/../Cargo.toml",
            "/assets/../index.html",
            "/./index.html",
            "//index.html",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc/passwd",
            "/%5c..%5cetc",
            "/\\..\\etc",
            "/traces%00",
            "/traces/%3Cimg",
            "//etc/passwd",
            "/traces//x",
            "/traces/",
            "traces",
            "/etc/passwd;x",
            "/index.html.br",
            "/assets/index-1a.js.gz",
        ] {
            assert_eq!(found(&wanted(path)), None, "{path}");
        }
    }

    #[test]
    fn smallest_accepted_encoding_is_sent() {
        for (encodings, path, name) in [
            ("gzip, deflate, br, zstd", "/", "index.html.br"),
            ("gzip, br;q=0", "/", "index.html.gz"),
            ("GZIP;q=0.5", "/", "index.html.gz"),
            ("identity", "/", "index.html"),
            ("br", "/assets/index-1a.js", "assets/index-1a.js"),
            ("br, gzip", "/assets/index-1a.js", "assets/index-1a.js.gz"),
        ] {
            assert_eq!(found(&Wanted { encodings, ..wanted(path) }).as_deref(), Some(name), "{encodings}");
        }
    }

    #[test]
    fn matching_etag_gets_304() {
        for (matches, known) in [
            ("\"index.html\"", true),
            ("W/\"index.html\"", true),
            ("\"a\", \"index.html\"", true),
            ("*", true),
            ("\"index.html.br\"", false),
            ("", false),
        ] {
            let page = Wanted { matches, ..wanted("/") }.find(&files).unwrap();
            assert_eq!(page.not_modified, known, "{matches}");
            let mut out = Vec::new();
            answer(&page, &Frame::closing(), &Date::default(), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.starts_with("HTTP/1.1 304 Not Modified\r\n"), known, "{text}");
            assert_eq!(text.ends_with("\r\n\r\n"), known, "{text}");
        }
        let asset = wanted("/assets/index-1a.js").find(&files).unwrap();
        let page = wanted("/").find(&files).unwrap();
        assert!(asset.immutable && !page.immutable);
        assert_eq!(asset.media, "text/javascript; charset=utf-8");
    }
}
