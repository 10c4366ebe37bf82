//! The console's files, embedded in the binary.
//! Constant bytes, shared by all threads.
//! Never reads a file at run time, so no request path can reach the file system.

use std::borrow::Cow;

use rust_embed::RustEmbed;

/// The output of `make web`; empty if that was not run before this crate was compiled.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct EmbeddedFiles;

/// One file in one content encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub bytes: Cow<'static, [u8]>,
    /// A strong ETag of exactly these bytes, with its quotes.
    pub etag: String,
}

/// Returns the file with exactly this name, such as `assets/index-3f2a.js`. Names of compressed files end with `.br` or `.gz`.
pub fn file(name: &str) -> Option<File> {
    let file = EmbeddedFiles::get(name)?;
    let hash = file.metadata.sha256_hash();
    // 96 bits are enough to tell the versions of one file apart.
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Some(File { bytes: file.data, etag: format!("\"{hex}\"") })
}

/// The path under which the console is mounted, and its page with that path filled in.
#[derive(Debug)]
pub struct Mount {
    /// Begins and ends with a slash.
    base: Box<str>,
    page: File,
}

impl Mount {
    /// `base` must begin and end with a slash and must not hold a character that is special in HTML or in an ETag.
    pub fn under(base: &str) -> Mount {
        let page = file("index.html").unwrap_or_else(placeholder);
        Mount { base: base.into(), page: with_base(page, base) }
    }

    pub fn page(&self) -> &File {
        &self.page
    }

    /// Strips the mount path from a request's path. Returns `None` if the path does not begin with it, for example because
    /// a proxy in front of luner has already stripped it.
    pub fn strip_base<'p>(&self, path: &'p str) -> Option<&'p str> {
        let inside = self.base.len() > 1 && path.starts_with(&*self.base);
        if inside { path.get(self.base.len() - 1..) } else { None }
    }
}

/// Sets the page's base path, to which all its URLs are relative, and gives the changed page an ETag of its own.
fn with_base(page: File, base: &str) -> File {
    if base == "/" {
        return page;
    }
    let text = String::from_utf8_lossy(&page.bytes).replacen(BASE, &format!("<base href=\"{base}\""), 1);
    let etag = format!("{}-{base}\"", page.etag.trim_end_matches('"'));
    File { bytes: Cow::Owned(text.into_bytes()), etag }
}

/// The base element of the page as built; scripts/web-pack.mjs checks that it is there.
const BASE: &str = "<base href=\"/\"";

/// The page to serve if the console was not built.
fn placeholder() -> File {
    File { bytes: Cow::Borrowed(PLACEHOLDER.as_bytes()), etag: "\"no-console\"".into() }
}

const PLACEHOLDER: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<base href=\"/\">
<title>luner</title>
<h1>luner is running</h1>
<p>This binary was built without its console. <code>make build</code> builds both and needs Node 20 or newer.</p>
<p>The API works: <a href=\"api/health\">health</a>, <a href=\"metrics\">metrics</a>,
<a href=\"api/openapi.json\">OpenAPI document</a>.</p>
</html>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_names_its_mount_path_and_has_its_own_etag() {
        let (root, below) = (Mount::under("/"), Mount::under("/a/luner/"));
        let text = |mount: &Mount| String::from_utf8(mount.page().bytes.to_vec()).unwrap();
        assert_eq!(text(&root).matches("<base href=\"/\"").count(), 1);
        assert_eq!(text(&below).matches("<base href=\"/a/luner/\"").count(), 1);
        assert_eq!(text(&below).matches("<base ").count(), 1);
        assert_ne!(root.page().etag, below.page().etag);
        assert!(below.page().etag.starts_with('"') && below.page().etag.ends_with("-/a/luner/\""));
    }

    #[test]
    fn mount_path_is_stripped_once() {
        let mount = Mount::under("/luner/");
        assert_eq!(mount.strip_base("/luner/api/health"), Some("/api/health"));
        assert_eq!(mount.strip_base("/luner/"), Some("/"));
        assert_eq!(mount.strip_base("/luner/luner/x"), Some("/luner/x"));
        for path in ["/", "/luner", "/lunerx/y", "/api/health", "/LUNER/x"] {
            assert_eq!(mount.strip_base(path), None, "{path}");
        }
        assert_eq!(Mount::under("/").strip_base("/api/health"), None);
    }
}
