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

/// The console where it is mounted: under which path, and its page as it says so.
#[derive(Debug)]
pub struct Mount {
    /// Begins and ends with a slash.
    base: Box<str>,
    page: File,
}

impl Mount {
    /// `base` begins and ends with a slash and holds nothing that HTML or an ETag treats as its own.
    pub fn under(base: &str) -> Mount {
        let page = file("index.html").unwrap_or_else(stand_in);
        Mount { base: base.into(), page: based(page, base) }
    }

    /// The page.
    pub fn page(&self) -> &File {
        &self.page
    }

    /// The path below the mount that this one leads to, if something before luner has not taken the mount's path off.
    pub fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        let inside = self.base.len() > 1 && path.starts_with(&*self.base);
        if inside { path.get(self.base.len() - 1..) } else { None }
    }
}

/// The page with the path that all its addresses are relative to.
fn based(page: File, base: &str) -> File {
    if base == "/" {
        return page;
    }
    let text = String::from_utf8_lossy(&page.bytes).replacen(BASE, &format!("<base href=\"{base}\""), 1);
    let etag = format!("{}-{base}\"", page.etag.trim_end_matches('"'));
    File { bytes: Cow::Owned(text.into_bytes()), etag }
}

/// How the page has it as it was built; scripts/web-pack.mjs checks that.
const BASE: &str = "<base href=\"/\"";

/// The page that stands in for a console that was not built.
fn stand_in() -> File {
    File { bytes: Cow::Borrowed(STAND_IN.as_bytes()), etag: "\"no-console\"".into() }
}

const STAND_IN: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<base href=\"/\">
<title>luner</title>
<h1>luner runs</h1>
<p>This binary was built without its console. <code>make build</code> builds both; it needs Node 20 or newer.</p>
<p>The API works: <a href=\"api/health\">health</a>, <a href=\"metrics\">metrics</a>,
<a href=\"api/openapi.json\">its description</a>.</p>
</html>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_where_it_is_mounted_and_is_another_one_there() {
        let (root, below) = (Mount::under("/"), Mount::under("/a/luner/"));
        let text = |mount: &Mount| String::from_utf8(mount.page().bytes.to_vec()).unwrap();
        assert_eq!(text(&root).matches("<base href=\"/\"").count(), 1);
        assert_eq!(text(&below).matches("<base href=\"/a/luner/\"").count(), 1);
        assert_eq!(text(&below).matches("<base ").count(), 1);
        assert_ne!(root.page().etag, below.page().etag);
        assert!(below.page().etag.starts_with('"') && below.page().etag.ends_with("-/a/luner/\""));
    }

    #[test]
    fn the_path_of_the_mount_is_taken_off_once() {
        let mount = Mount::under("/luner/");
        assert_eq!(mount.below("/luner/api/health"), Some("/api/health"));
        assert_eq!(mount.below("/luner/"), Some("/"));
        assert_eq!(mount.below("/luner/luner/x"), Some("/luner/x"));
        for path in ["/", "/luner", "/lunerx/y", "/api/health", "/LUNER/x"] {
            assert_eq!(mount.below(path), None, "{path}");
        }
        assert_eq!(Mount::under("/").below("/api/health"), None);
    }
}
