//! Notifies the supervisor (systemd) with `sd_notify(3)` messages: the gateway is ready, is stopping, is alive. Owned by the
//! coordinator. Sends nothing without `NOTIFY_SOCKET`.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock::Now;

/// Send timeout: a supervisor that does not read must not block the coordinator. Arbitrary.
const SEND_TIMEOUT: Duration = Duration::from_millis(250);

/// The connection to the supervisor.
#[derive(Debug)]
pub struct Supervisor {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Time between two watchdog messages: half of what the supervisor allows, as `sd_watchdog_enabled(3)` recommends.
    every_ms: Option<u64>,
    pinged_ms: u64,
    /// Set while another process is supervised instead of this one.
    muted: bool,
}

impl Supervisor {
    /// Reads the environment for this process.
    pub fn from_environment() -> Supervisor {
        Supervisor::new(|name| std::env::var_os(name), std::process::id())
    }

    fn new(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Supervisor {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let ours = text("WATCHDOG_PID").is_none_or(|of| of.parse() == Ok(pid));
        let micros = text("WATCHDOG_USEC").and_then(|micros| micros.parse::<u64>().ok()).filter(|micros| *micros > 0);
        let every_ms = micros.filter(|_| ours).map(|micros| micros / 2_000);
        let to = variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()).and_then(|path| {
            let warn = |error: io::Error| tracing::warn!(%error, "cannot notify the supervisor");
            connect(path.as_bytes()).map_err(warn).ok()
        });
        Supervisor { to, every_ms, pinged_ms: 0, muted: false }
    }

    /// Returns true if messages are sent.
    #[cfg(test)]
    fn is_notified(&self) -> bool {
        self.to.is_some() && !self.muted
    }

    /// Sends nothing until [`Supervisor::speak`], because another process is supervised.
    pub fn mute(&mut self) {
        self.muted = true;
    }

    pub(crate) fn speak(&mut self) {
        self.muted = false;
    }

    /// Sends these lines, and the status text to show, in one message.
    pub(crate) fn tell(&self, lines: &str, status: &str) {
        self.send(&format!("{lines}STATUS={status}\n"));
    }

    /// Sends a watchdog message if one is due.
    pub(crate) fn ping(&mut self, now: Now) {
        let now_ms = now.mono_ms();
        if self.every_ms.is_some_and(|every_ms| now_ms >= self.pinged_ms.saturating_add(every_ms)) && !self.muted {
            self.pinged_ms = now_ms;
            self.send("WATCHDOG=1\n");
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, to)) = self.to.as_ref().filter(|_| !self.muted)
            && let Err(error) = socket.send_to_addr(message.as_bytes(), to)
        {
            tracing::warn!(%error, "could not notify the supervisor");
        }
    }
}

/// `path` is an absolute path, or `@` and the name of an abstract socket.
fn connect(path: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "NOTIFY_SOCKET is neither a path nor an @name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok((socket, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Supervisor {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        Supervisor::new(value, 77)
    }

    #[test]
    fn watchdog_interval_is_halved_and_only_for_this_process() {
        assert_eq!(of(&[]).every_ms, None);
        assert_eq!(of(&[("WATCHDOG_USEC", "3000000")]).every_ms, Some(1_500));
        assert_eq!(of(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "77")]).every_ms, Some(1_500));
        assert_eq!(of(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "78")]).every_ms, None);
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]).every_ms, None);
        assert_eq!(of(&[("WATCHDOG_USEC", "soon")]).every_ms, None);
    }

    #[test]
    fn unusable_socket_means_no_supervisor() {
        assert!(!of(&[]).is_notified());
        assert!(!of(&[("NOTIFY_SOCKET", "")]).is_notified());
        assert!(!of(&[("NOTIFY_SOCKET", "vsock:2:1234")]).is_notified());
    }
}
