//! Folders for one test.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A configuration in a folder of its own for one test, gone with it.
pub struct Scratch {
    pub path: PathBuf,
    pub folder: PathBuf,
}

impl Scratch {
    #[track_caller]
    pub fn new(text: &str) -> Scratch {
        let folder = Scratch::empty();
        let path = folder.join("config.yaml");
        std::fs::write(&path, text).expect("a file in the temporary folder");
        Scratch { path, folder }
    }

    /// As the kubelet lays a ConfigMap out: config.yaml → ..data/config.yaml, ..data → ..1.
    #[track_caller]
    pub fn config_map(text: &str) -> Scratch {
        let folder = Scratch::empty();
        let scratch = Scratch { path: folder.join("config.yaml"), folder };
        scratch.swap(text);
        symlink("..data/config.yaml", &scratch.path).expect("a link");
        scratch
    }

    #[track_caller]
    fn empty() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("luner-it-{}-{}", std::process::id(), Scratch::number()));
        std::fs::create_dir(&folder).expect("a folder in the temporary folder");
        folder
    }

    fn number() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes the configuration anew, in place.
    #[track_caller]
    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).expect("the configuration can be written");
    }

    /// Puts another file in its place, as editors save.
    #[track_caller]
    pub fn rename(&self, text: &str) {
        let beside = self.folder.join("config.yaml.new");
        std::fs::write(&beside, text).expect("a file beside the configuration");
        std::fs::rename(&beside, &self.path).expect("a file can be renamed");
    }

    /// Swaps the link to the folder of a [`Scratch::config_map`], as the kubelet does.
    #[track_caller]
    pub fn swap(&self, text: &str) {
        let name = format!("..{}", Scratch::number());
        std::fs::create_dir(self.folder.join(&name)).expect("a folder for the new data");
        std::fs::write(self.folder.join(&name).join("config.yaml"), text).expect("the new data");
        symlink(&name, self.folder.join("..data_tmp")).expect("a link");
        std::fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).expect("a link can be renamed");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
