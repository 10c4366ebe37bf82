//! Tests the watcher on real files. Each check of the file is reported, so that a test can wait for the result that it expects,
//! with a timeout, and knows that no change was reported before.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// Arbitrary: longer than anything here takes. A test that hangs fails at the place where it waits.
const PATIENCE: Duration = Duration::from_secs(20);
const DEBOUNCE: Duration = Duration::from_millis(150);
/// So slow that the poll finds nothing during a test.
const NO_POLL: Duration = Duration::from_secs(3600);

/// A folder with a configuration, and a watcher that reports each check.
struct Scene {
    folder: TempDir,
    path: PathBuf,
    looks: flume::Receiver<Look>,
    watcher: Watcher,
}

fn scene_of(folder: TempDir, poll: Duration, debounce: Duration, notices: Notices) -> Scene {
    let path = folder.path().join("config.yaml");
    let (sender, looks) = flume::unbounded();
    let report = Box::new(move |look| _ = sender.send(look));
    let watcher = start_with(&path, poll, debounce, report, notices).unwrap();
    Scene { folder, path, looks, watcher }
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), "old").unwrap();
    let scene = scene_of(folder, NO_POLL, DEBOUNCE, Notices::On);
    assert_eq!(scene.watcher.polls_only(), None);
    scene
}

/// Creates a ConfigMap's files as the kubelet does: config.yaml → ..data/config.yaml, ..data → ..2024_1.
fn config_map(content: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("..2024_1")).unwrap();
    fs::write(folder.path().join("..2024_1/config.yaml"), content).unwrap();
    symlink("..2024_1", folder.path().join("..data")).unwrap();
    symlink("..data/config.yaml", folder.path().join("config.yaml")).unwrap();
    folder
}

impl Scene {
    fn look(&self) -> Look {
        self.looks.recv_timeout(PATIENCE).expect("the watcher checks the file")
    }

    /// Waits for the next change; checks without a change may come before.
    fn change(&self) -> u64 {
        loop {
            if let Look::Changed(hash) = self.look() {
                return hash;
            }
        }
    }

    /// Waits for a check with this result. One event may cause several checks on a busy machine, but no change.
    fn until(&self, wanted: Look) {
        loop {
            match self.look() {
                look if look == wanted => return,
                Look::Changed(_) => panic!("a change was reported"),
                Look::Same | Look::Unreadable => {}
            }
        }
    }

    /// Waits for a check after the event, which reports no change.
    fn nothing_new(&self) {
        self.until(Look::Same);
    }

    /// Replaces the target of `..data` as the kubelet does, and removes the old folder.
    fn swap(&self, from: &str, to: &str, content: &str) {
        let folder = self.folder.path();
        fs::create_dir(folder.join(to)).unwrap();
        fs::write(folder.join(to).join("config.yaml"), content).unwrap();
        symlink(to, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        fs::remove_dir_all(folder.join(from)).unwrap();
    }
}

#[test]
fn writing_in_place_is_a_change() {
    let scene = scene();
    fs::write(&scene.path, "new").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"new"));
    fs::write(&scene.path, "newer").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"newer"));
}

#[test]
fn writing_in_two_halves_is_one_change() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yaml"), "old").unwrap();
    // Longer than a busy machine takes between the halves.
    let scene = scene_of(folder, NO_POLL, Duration::from_secs(1), Notices::On);
    let mut file = File::create(&scene.path).unwrap();
    file.write_all(b"first half, ").unwrap();
    file.sync_all().unwrap();
    thread::park_timeout(Duration::from_millis(100));
    file.write_all(b"second half").unwrap();
    drop(file);
    assert_eq!(scene.look(), Look::Changed(bytes_hash(b"first half, second half")));
}

#[test]
fn saving_by_rename_is_a_change_each_time() {
    let scene = scene();
    for content in ["one", "two", "three"] {
        let new = scene.folder.path().join(".config.yaml.swp");
        fs::write(&new, content).unwrap();
        fs::rename(&new, &scene.path).unwrap();
        assert_eq!(scene.change(), bytes_hash(content.as_bytes()));
    }
}

#[test]
fn config_map_swapped_by_kubernetes_is_a_change_each_time() {
    let scene = scene_of(config_map("old"), NO_POLL, DEBOUNCE, Notices::On);
    scene.swap("..2024_1", "..2024_2", "two");
    assert_eq!(scene.change(), bytes_hash(b"two"));
    scene.swap("..2024_2", "..2024_3", "three");
    assert_eq!(scene.change(), bytes_hash(b"three"));
    // The new folder is watched as the old one was.
    fs::write(scene.folder.path().join("..2024_3/config.yaml"), "in place").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"in place"));
}

#[test]
fn config_map_swapped_for_the_same_content_is_not_a_change() {
    let scene = scene_of(config_map("old"), NO_POLL, DEBOUNCE, Notices::On);
    scene.swap("..2024_1", "..2024_2", "old");
    scene.nothing_new();
}

#[test]
fn link_into_another_folder_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, content) in [("a.yaml", "a"), ("b.yaml", "b")] {
        fs::write(elsewhere.path().join(name), content).unwrap();
    }
    let link = folder.path().join("config.yaml");
    symlink(elsewhere.path().join("a.yaml"), &link).unwrap();
    let scene = scene_of(folder, NO_POLL, DEBOUNCE, Notices::On);
    fs::write(elsewhere.path().join("a.yaml"), "a changed").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"a changed"));
    // ln -sfn: the link is gone for a moment.
    fs::remove_file(&link).unwrap();
    symlink(elsewhere.path().join("b.yaml"), &link).unwrap();
    assert_eq!(scene.change(), bytes_hash(b"b"));
    fs::write(elsewhere.path().join("b.yaml"), "b changed").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"b changed"));
}

#[test]
fn swapped_link_to_a_parent_folder_is_followed() {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(root.path().join(name)).unwrap();
        fs::write(root.path().join(name).join("config.yaml"), content).unwrap();
    }
    let current = root.path().join("current");
    symlink("v1", &current).unwrap();
    let (sender, looks) = flume::unbounded();
    let report = Box::new(move |look| _ = sender.send(look));
    let path = current.join("config.yaml");
    let watcher = start_with(&path, NO_POLL, DEBOUNCE, report, Notices::On).unwrap();
    let scene = Scene { folder: root, path, looks, watcher };
    symlink("v2", scene.folder.path().join("next")).unwrap();
    fs::rename(scene.folder.path().join("next"), &current).unwrap();
    assert_eq!(scene.change(), bytes_hash(b"two"));
}

#[test]
fn deleting_is_not_a_change_and_new_content_is() {
    let scene = scene();
    fs::remove_file(&scene.path).unwrap();
    scene.until(Look::Unreadable);
    fs::write(&scene.path, "old").unwrap();
    scene.nothing_new();
    fs::remove_file(&scene.path).unwrap();
    scene.until(Look::Unreadable);
    fs::write(&scene.path, "new").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"new"));
}

#[test]
fn file_that_was_missing_at_start_is_a_change_when_created() {
    let scene = scene_of(tempfile::tempdir().unwrap(), NO_POLL, DEBOUNCE, Notices::On);
    fs::write(&scene.path, "first").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"first"));
}

#[test]
fn new_permissions_are_not_a_change() {
    let scene = scene();
    fs::set_permissions(&scene.path, fs::Permissions::from_mode(0o600)).unwrap();
    scene.nothing_new();
}

#[test]
fn rewriting_the_same_content_is_not_a_change() {
    let scene = scene();
    fs::write(&scene.path, "old").unwrap();
    scene.nothing_new();
    File::options().write(true).open(&scene.path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    scene.nothing_new();
}

#[test]
fn checking_the_file_does_not_wake_the_watcher_again() {
    let scene = scene();
    fs::write(scene.folder.path().join("neighbour"), "x").unwrap();
    scene.nothing_new();
    // A busy machine may cause a few more checks, but not one after each check.
    assert!((0..10).any(|_| scene.looks.recv_timeout(DEBOUNCE * 4).is_err()));
}

#[test]
fn restless_folder_does_not_delay_the_check_forever() {
    let scene = scene();
    fs::write(&scene.path, "new").unwrap();
    let neighbour = scene.folder.path().join("neighbour");
    // Each write comes well within the debounce after the write before it.
    let looked = (0..u32::MAX).find_map(|n| {
        fs::write(&neighbour, n.to_string()).unwrap();
        scene.looks.recv_timeout(DEBOUNCE / 50).ok()
    });
    assert_eq!(looked, Some(Look::Changed(bytes_hash(b"new"))));
}

#[test]
fn poll_finds_changes_without_kernel_events() {
    let folder = config_map("old");
    let scene = scene_of(folder, Duration::from_millis(20), DEBOUNCE, Notices::Off);
    assert!(scene.watcher.polls_only().is_some());
    scene.nothing_new();
    fs::write(&scene.path, "new").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"new"));
    scene.swap("..2024_1", "..2024_2", "two");
    assert_eq!(scene.change(), bytes_hash(b"two"));
    fs::remove_file(&scene.path).unwrap();
    scene.until(Look::Unreadable);
    fs::write(&scene.path, "three").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"three"));
}

/// Watches a file in a folder that a test can replace, because it is not the temporary folder itself.
fn scene_in_a_subfolder(poll: Duration, debounce: Duration) -> (PathBuf, Scene) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("conf");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("config.yaml");
    fs::write(&path, "old").unwrap();
    let (sender, looks) = flume::unbounded();
    let report = Box::new(move |look| _ = sender.send(look));
    let watcher = start_with(&path, poll, debounce, report, Notices::On).unwrap();
    (folder, Scene { folder: root, path, looks, watcher })
}

#[test]
fn replaced_folder_is_watched_again() {
    let (folder, scene) = scene_in_a_subfolder(Duration::from_millis(20), DEBOUNCE);
    fs::rename(&folder, scene.folder.path().join("conf.old")).unwrap();
    scene.until(Look::Unreadable);
    fs::create_dir(&folder).unwrap();
    fs::write(&scene.path, "new").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"new"));
}

#[test]
fn recreated_folder_is_watched_even_with_its_old_inode() {
    // The debounce is longer than a busy machine takes from the deletion to the new file.
    let (folder, scene) = scene_in_a_subfolder(NO_POLL, Duration::from_secs(1));
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(&scene.path, "new").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"new"));
    fs::write(&scene.path, "newer").unwrap();
    assert_eq!(scene.change(), bytes_hash(b"newer"));
}

#[test]
fn callback_gets_changes_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    fs::write(&path, "old").unwrap();
    let (sender, changes) = flume::unbounded();
    let on_change = Box::new(move |changed| _ = sender.send(changed));
    let _watcher = start(path.clone(), NO_POLL, DEBOUNCE, on_change).unwrap();
    fs::write(&path, "old").unwrap();
    fs::write(&path, "new").unwrap();
    assert_eq!(changes.recv_timeout(PATIENCE), Ok(Changed { bytes_hash: bytes_hash(b"new") }));
}

#[test]
fn dropping_the_watcher_ends_its_thread() {
    let Scene { folder: _folder, looks, watcher, .. } = scene();
    drop(watcher);
    // The thread owned the sender.
    assert_eq!(looks.recv_timeout(PATIENCE), Err(flume::RecvTimeoutError::Disconnected));
}

#[test]
fn pipe_is_never_read() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"version: v1").unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&reader);
    assert_eq!(read_hash(Path::new(&format!("/proc/self/fd/{fd}"))), None);
    drop(writer);
    assert_eq!(io::read_to_string(reader).unwrap(), "version: v1");
}

#[test]
fn loop_of_links_ends() {
    let folder = tempfile::tempdir().unwrap();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert_eq!(links_and_file(&folder.path().join("a")).len(), LINKS_MAX + 1);
}
