//! While the node is down, its addresses must be free for it, or held for it by systemd.

use super::Finding;
use crate::config::Settings;
use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
};

/// One listener: the key of its address, and the socket unit that may hold it for the node.
struct Wanted {
    key: &'static str,
    address: SocketAddr,
    unit: Option<&'static str>,
}

pub fn examine(settings: &Settings) -> Vec<Finding> {
    let always = [
        Wanted { key: "supplier.listen", address: settings.supplier.listen, unit: Some("spine.socket") },
        Wanted { key: "peer.listen", address: settings.peer.listen, unit: None },
        Wanted { key: "ops.listen", address: settings.ops_listen, unit: None },
    ];
    let api = settings.api.listen.map(|address| Wanted { key: "api.listen", address, unit: Some("spine-api.socket") });
    let ldap = settings.ldap.listen;
    let ldap = ldap.map(|address| Wanted { key: "ldap.listen", address, unit: Some("spine-ldap.socket") });
    always.into_iter().chain(api).chain(ldap).map(|wanted| one(&wanted)).collect()
}

fn one(wanted: &Wanted) -> Finding {
    let Wanted { key, address, unit } = wanted;
    let Err(e) = TcpListener::bind(address) else { return Finding::ok(key, format!("{address} is free")) };
    match (e.kind(), unit) {
        (ErrorKind::AddrInUse, Some(unit)) if runs(unit) => {
            Finding::ok(key, format!("{unit} holds its address for the node"))
        }
        (ErrorKind::AddrInUse, _) => Finding::fail(
            key,
            format!("{address} is taken by another process: {e}"),
            format!("`ss -ltnp 'sport = :{}'` shows which: stop it, or change {key}", address.port()),
        ),
        (ErrorKind::PermissionDenied, Some(unit)) => Finding::warn(
            key,
            format!("{address} is for root alone: {e}"),
            format!("let systemd open it: `systemctl enable --now {unit}`; or take a port from 1024 on"),
        ),
        (ErrorKind::AddrNotAvailable, _) => Finding::fail(
            key,
            format!("{address} is no address of this machine: {e}"),
            format!("`ip -brief address` shows those that it has; change {key}"),
        ),
        _ => Finding::fail(key, format!("{address}: {e}"), format!("change {key}, then `spine config check`")),
    }
}

/// Whether systemd says that a unit is up: where there is no systemd, none is.
fn runs(unit: &str) -> bool {
    let mut asked = Command::new("systemctl");
    asked.args(["is-active", "--quiet", unit]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}
