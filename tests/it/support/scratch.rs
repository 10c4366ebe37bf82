//! A config file in a folder of its own, and the ways in which such a file gets replaced.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A temporary folder for one test with one file in it, usually a config. Dropping it removes the folder.
pub struct Scratch {
    /// The file.
    pub path: PathBuf,
    pub folder: PathBuf,
}

impl Scratch {
    #[track_caller]
    pub fn new(text: &str) -> Scratch {
        let folder = Scratch::create_folder();
        let path = folder.join("config.yaml");
        std::fs::write(&path, text).expect("a file in the temporary folder");
        Scratch { path, folder }
    }

    /// Lays the file out as the kubelet does with a ConfigMap: config.yaml → ..data/config.yaml, ..data → ..1.
    #[track_caller]
    pub fn config_map(text: &str) -> Scratch {
        let folder = Scratch::create_folder();
        let scratch = Scratch { path: folder.join("config.yaml"), folder };
        scratch.swap_link(text);
        symlink("..data/config.yaml", &scratch.path).expect("a link");
        scratch
    }

    #[track_caller]
    fn create_folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("luner-it-{}-{}", std::process::id(), Scratch::next_number()));
        std::fs::create_dir(&folder).expect("a folder in the temporary folder");
        folder
    }

    fn next_number() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Overwrites the file in place.
    #[track_caller]
    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).expect("the config can be written");
    }

    /// Writes a second file and renames it over the first, as editors do.
    #[track_caller]
    pub fn write_by_rename(&self, text: &str) {
        let second = self.folder.join("config.yaml.new");
        std::fs::write(&second, text).expect("a second file in the folder");
        std::fs::rename(&second, &self.path).expect("a file can be renamed");
    }

    /// Swaps the link to the data folder of a [`Scratch::config_map`], as the kubelet does.
    #[track_caller]
    pub fn swap_link(&self, text: &str) {
        let name = format!("..{}", Scratch::next_number());
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
