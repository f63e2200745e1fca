//! Everything that speaks to systemd: readiness, status, watchdog, passed sockets. Does nothing without systemd.
//!
//! `READY=1` is for a node that listens and has caught up; until then [`Notify::starting`] keeps systemd patient.
//! The watchdog is petted by whoever calls [`Notify::alive`]: the engine's loop, not a side thread.

use sd_notify::NotifyState;
use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

/// Tells systemd how the process is doing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Notify;

impl Notify {
    fn send(states: &[NotifyState<'_>]) {
        if let Err(e) = sd_notify::notify(states) {
            tracing::debug!(event = "systemd.notify.failed", error = %e, "systemd could not be told");
        }
    }
    /// Still starting: shows `status` and asks for `patience` more before systemd gives up.
    pub fn starting(&self, status: &str, patience: Duration) {
        let usec = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
        Self::send(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(usec)]);
    }
    /// Listening and caught up.
    pub fn ready(&self, status: &str) {
        Self::send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }
    pub fn status(&self, status: &str) {
        Self::send(&[NotifyState::Status(status)]);
    }
    /// Draining: shows `status` and asks for `patience` to finish what is in flight.
    pub fn stopping(&self, status: &str, patience: Duration) {
        let usec = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
        Self::send(&[NotifyState::Stopping, NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(usec)]);
    }
    /// Pets the watchdog.
    pub fn alive(&self) {
        Self::send(&[NotifyState::Watchdog]);
    }
    /// How often to call [`Notify::alive`]: half of what systemd allows. `None` where no watchdog runs.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }
}

/// A secret that the unit hands over (`LoadCredential=`, `LoadCredentialEncrypted=`): where it lies, if it is there. Read at the
/// start only: what has to be taken anew while the node runs stays a file.
pub fn credential(name: &str) -> Option<std::path::PathBuf> {
    let path = std::path::Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    path.is_file().then_some(path)
}

/// A socket that systemd opened for us, with its `FileDescriptorName=`.
pub struct PassedSocket {
    pub name: String,
    pub fd: OwnedFd,
}

impl PassedSocket {
    /// The socket as a TCP listener. An error if it is another kind of socket.
    pub fn into_tcp(self) -> io::Result<std::net::TcpListener> {
        let listener = std::net::TcpListener::from(self.fd);
        listener.local_addr()?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

/// Takes the sockets that systemd passed. Call once, early: the descriptors are taken over.
pub fn passed_sockets() -> io::Result<Vec<PassedSocket>> {
    let passed = sd_notify::listen_fds_with_names()?;
    Ok(passed
        .map(|(fd, name)| PassedSocket {
            name,
            // SAFETY: sd_listen_fds hands these descriptors over for good, and the library unsets the variables.
            #[allow(unsafe_code, reason = "systemd hands over open descriptors by number; each is taken exactly once")]
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    /// What the child test does; without the variables that the parent sets it does nothing.
    #[test]
    fn child() {
        if std::env::var_os("SPINE_TEST_CHILD").is_none() {
            return;
        }
        let sockets = passed_sockets().unwrap();
        let names: Vec<&str> = sockets.iter().map(|s| s.name.as_str()).collect();
        Notify.starting(&format!("sockets {}", names.join(",")), Duration::from_secs(7));
        for socket in sockets {
            Notify.ready(&format!("port {}", socket.into_tcp().unwrap().local_addr().unwrap().port()));
        }
        assert_eq!(Notify.watchdog_interval(), Some(Duration::from_secs(15)));
        Notify.alive();
        Notify.stopping("draining", Duration::from_secs(60));
    }

    #[test]
    fn systemd_is_told_and_its_sockets_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // A process of its own, because systemd's protocol is in environment variables and fixed descriptors.
        let script = "exec 3<&0; export LISTEN_PID=$$ WATCHDOG_PID=$$; exec \"$0\" --exact ops::systemd::tests::child";
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .envs([("SPINE_TEST_CHILD", "1"), ("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "supplier")])
            .env("WATCHDOG_USEC", "30000000")
            .env("NOTIFY_SOCKET", dir.path().join("notify"))
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        let mut told = vec![];
        notify.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1000];
        while let Ok(n) = notify.recv(&mut buffer) {
            told.push(String::from_utf8_lossy(&buffer[..n]).trim_end().replace('\n', " "));
        }
        let ready = format!("READY=1 STATUS=port {port}");
        assert_eq!(
            told,
            [
                "STATUS=sockets supplier EXTEND_TIMEOUT_USEC=7000000",
                &ready,
                "WATCHDOG=1",
                "STOPPING=1 STATUS=draining EXTEND_TIMEOUT_USEC=60000000",
            ]
        );
    }
}
