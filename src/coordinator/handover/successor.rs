//! The new process of a hand-over, as the old one sees it: starts it, sends it the sockets, and waits for it, with timeouts. A
//! helper thread waits; the coordinator owns the handle. A new process that does not come up is ended.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use super::protocol::{GO, READY, STANDING, START_TIMEOUT, STOPPED, VARIABLE};
use super::sockets;
use crate::clock::Clock;
use crate::link::{Event, Succession};

/// How long a process that has closed its socket may take to end, so that its exit status is known. Arbitrary.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two checks whether it has ended. Arbitrary.
const EXIT_POLL: Duration = Duration::from_millis(10);
/// procfs appends this to the path of a file that is gone.
const DELETED: &str = " (deleted)";
/// Environment variables that are for this process only.
const OWN_VARIABLES: [&str; 5] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", VARIABLE];

/// How this process was started, so that another can be started the same way.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// Why no other process can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLaunch {
    #[error("a gateway whose configuration is not a file cannot be started again")]
    NoFile,
    #[error("a container ends with its first process: replace the container instead")]
    FirstProcess,
    #[error("the program file of this process is unknown")]
    Unknown,
}

impl Launch {
    /// Call it at start, before the program file is replaced.
    ///
    /// # Errors
    /// The program file is unknown, or starting it again would not help.
    pub fn of_this_process() -> Result<Launch, NoLaunch> {
        if std::process::id() == 1 {
            return Err(NoLaunch::FirstProcess);
        }
        let mut arguments = env::args_os();
        let called = arguments.next();
        let program = program(called.map(PathBuf::from)).ok_or(NoLaunch::Unknown)?;
        Ok(Launch { program, arguments: arguments.collect() })
    }
}

/// The path by which this process was called, with its symbolic links, so that a link that is switched leads to the new
/// version. If that path leads to another program, the path of the running file.
fn program(called: Option<PathBuf>) -> Option<PathBuf> {
    let running = fs::metadata("/proc/self/exe").ok();
    let is_running = |path: &Path| {
        let id = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        running.as_ref().is_some_and(|running| fs::metadata(path).is_ok_and(|found| id(&found) == id(running)))
    };
    let called = called.and_then(|called| match called.components().count() {
        1 if !called.as_os_str().as_encoded_bytes().contains(&b'/') => {
            env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&called)).find(|path| is_running(path))
        }
        _ => std::path::absolute(called).ok(),
    });
    called.filter(|path| is_running(path)).or_else(|| env::current_exe().ok().map(undeleted))
}

/// The path of a file that has been replaced meanwhile.
fn undeleted(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|path| path.strip_suffix(DELETED)) {
        Some(before) if !path.exists() => before.into(),
        _ => path,
    }
}

/// Handle of a new process that is being started, or has taken over.
#[derive(Debug)]
pub struct Successor {
    control: UnixStream,
    given_up: Arc<AtomicBool>,
}

impl Successor {
    /// Starts the new process. Its progress is sent as [`Event::Succession`].
    ///
    /// # Errors
    /// The thread or the pair of sockets could not be created.
    pub fn start(launch: Launch, sockets: Vec<TcpListener>, events: flume::Sender<Event>) -> io::Result<Successor> {
        let (ours, theirs) = UnixStream::pair()?;
        let (control, given_up) = (ours.try_clone()?, Arc::new(AtomicBool::new(false)));
        let known = given_up.clone();
        let work = move || {
            let result = bring_up(&launch, ours, theirs, &sockets, &events);
            let result = result.unwrap_or_else(|(reason, mut child)| {
                let timeout = if known.load(Ordering::Acquire) { Duration::ZERO } else { EXIT_TIMEOUT };
                let how = child.as_mut().map(|child| end(child, timeout));
                Succession::Failed([Some(reason), how].into_iter().flatten().collect::<Vec<_>>().join("; "))
            });
            let _ = events.send(Event::Succession(result));
        };
        thread::Builder::new().name("successor".into()).spawn(work)?;
        Ok(Successor { control, given_up })
    }

    /// Tells the new process that nothing changes here any more, and that it may read the policies.
    pub fn go(&mut self) {
        // If the new process is gone, the helper thread reports it.
        let _ = writeln!(self.control, "{GO}");
    }

    /// Tells the new process that this one accepts no connections any more.
    pub fn stopped(&mut self) {
        let _ = writeln!(self.control, "{STOPPED}");
    }

    /// Gives the new process up: the helper thread ends it at once and reports that.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        let _ = self.control.shutdown(std::net::Shutdown::Both);
    }
}

/// Starts the new process and waits until it is ready. The error says why it is not.
fn bring_up(
    launch: &Launch,
    mut ours: UnixStream,
    theirs: UnixStream,
    sockets: &[TcpListener],
    events: &flume::Sender<Event>,
) -> Result<Succession, (String, Option<Child>)> {
    let mut command = Command::new(&launch.program);
    OWN_VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
    command.args(&launch.arguments).env(VARIABLE, std::process::id().to_string());
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let spawned = command.spawn();
    let child = spawned.map_err(|error| (format!("starting {}: {error}", launch.program.display()), None))?;
    // The command holds the other end, too. While it does, this side would never notice that the process is gone.
    drop(command);
    let mut lead = || -> Result<(), String> {
        ours.set_write_timeout(Some(START_TIMEOUT)).map_err(|error| error.to_string())?;
        sockets::send(&mut ours, sockets).map_err(|error| format!("handing the sockets over: {error}"))?;
        let (clock, mut lines) = (Clock::start(), BufReader::new(&ours));
        let started = clock.now();
        expect(&mut lines, STANDING, || START_TIMEOUT.saturating_sub(clock.now().since(started)))?;
        let _ = events.send(Event::Succession(Succession::Standing));
        expect(&mut lines, READY, || START_TIMEOUT.saturating_sub(clock.now().since(started)))
    };
    match lead() {
        Ok(()) => Ok(Succession::Ready { pid: child.id() }),
        Err(reason) => Err((reason, Some(child))),
    }
}

fn expect(lines: &mut BufReader<&UnixStream>, wanted: &str, left: impl Fn() -> Duration) -> Result<(), String> {
    let mut line = String::new();
    let in_time = Some(left()).filter(|left| !left.is_zero());
    let read = in_time.ok_or(io::Error::from(io::ErrorKind::TimedOut)).and_then(|left| {
        lines.get_ref().set_read_timeout(Some(left))?;
        lines.read_line(&mut line)
    });
    match read {
        Ok(0) => Err(LEFT.into()),
        Ok(_) if line.trim_end() == wanted => Ok(()),
        Ok(_) => Err(format!("it said {:?} where `{wanted}` was expected", line.trim_end())),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(format!("it was not {wanted} within {} s", START_TIMEOUT.as_secs()))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(LEFT.into()),
        Err(error) => Err(format!("waiting until it is {wanted}: {error}")),
    }
}

const LEFT: &str = "it closed its connection";

/// Waits until the process has ended, or kills it. Returns how it ended.
fn end(child: &mut Child, timeout: Duration) -> String {
    let (clock, mut status) = (Clock::start(), None);
    let started = clock.now();
    while status.is_none() && clock.now().since(started) < timeout {
        status = child.try_wait().ok().flatten();
        if status.is_none() {
            thread::sleep(EXIT_POLL);
        }
    }
    if let Some(status) = status {
        return status.to_string();
    }
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| format!("killed, {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_is_found_at_its_old_path() {
        assert_eq!(undeleted("/nowhere/luner (deleted)".into()), PathBuf::from("/nowhere/luner"));
        assert_eq!(undeleted("/nowhere/luner".into()), PathBuf::from("/nowhere/luner"));
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("luner (deleted)");
        fs::write(&odd, "").unwrap();
        assert_eq!(undeleted(odd.clone()), odd, "a file whose name really ends like this");
    }

    #[test]
    fn link_is_kept_and_another_program_is_not_used() {
        let running = env::current_exe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("current");
        std::os::unix::fs::symlink(&running, &link).unwrap();
        assert_eq!(program(Some(link.clone())), Some(link));
        assert_eq!(program(Some("/bin/sh".into())), Some(running.clone()));
        assert_eq!(program(None), Some(running));
    }
}
