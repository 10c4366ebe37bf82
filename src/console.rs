//! The console's files, in the binary. Shared by all threads; plain bytes that never change. It never reads a file while the
//! process runs, so no path of a request leads to one.

use std::borrow::Cow;

use rust_embed::RustEmbed;

/// What `make web` has built; none where that was not done before this crate was compiled.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Built;

/// One file, in one encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Cow<'static, [u8]>,
    /// Of these very bytes, as a strong ETag with its quotes.
    pub etag: String,
}

/// The file of exactly this name, such as `assets/index-3f2a.js`; an encoded one ends with `.br` or `.gz`.
pub fn file(name: &str) -> Option<File> {
    let file = Built::get(name)?;
    let hash = file.metadata.sha256_hash();
    // 96 bits tell the versions of one file apart.
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Some(File { bytes: file.data, etag: format!("\"{hex}\"") })
}

/// The page that stands in for a console that was not built.
pub fn stand_in() -> File {
    File { bytes: Cow::Borrowed(STAND_IN.as_bytes()), etag: "\"no-console\"".into() }
}

const STAND_IN: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>luner</title>
<h1>luner runs</h1>
<p>This binary was built without its console. <code>make build</code> builds both; it needs Node 20 or newer.</p>
<p>The API works: <a href=\"api/health\">health</a>, <a href=\"metrics\">metrics</a>,
<a href=\"api/openapi.json\">its description</a>.</p>
</html>
";
