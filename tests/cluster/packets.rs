//! Packets that the kernel really drops: a table of nft rules of our own, for loopback addresses that only this test's wires
//! use. Gone with this value.

use std::{
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

pub struct Dropper {
    table: String,
    /// The second byte of the addresses: no other test on this machine should have the same.
    network: u8,
}

impl Dropper {
    /// `None`, said loudly, where the kernel or the user's rights do not allow it.
    pub fn new() -> Option<Dropper> {
        let process = std::process::id();
        let one = Dropper { table: format!("spine_test_{process}"), network: 64 + (process % 128) as u8 };
        let made = one.rules(&[
            format!("add table inet {}", one.table),
            format!("add chain inet {} out {{ type filter hook output priority 0; }}", one.table),
            format!(
                "add rule inet {} out ip saddr {} numgen random mod 100 < 1 accept",
                one.table,
                one.address((9, 9))
            ),
            format!("flush chain inet {} out", one.table),
        ]);
        match made {
            Ok(()) => Some(one),
            Err(why) => {
                eprintln!("FALLBACK: packets cannot be dropped by nft ({why}): loss is played by the proxy's delays");
                None
            }
        }
    }

    /// Where connections that `pair.0` makes to `pair.1` come from.
    pub fn address(&self, (from, to): (u64, u64)) -> Ipv4Addr {
        Ipv4Addr::new(127, self.network, from as u8, to as u8)
    }

    /// From now on so many of a hundred packets from one node to the other are lost.
    pub fn lose(&self, (from, to): (u64, u64), percent: u8) {
        let chain = format!("inet {} from_{from}_{to}", self.table);
        let mut rules = vec![
            format!("add chain {chain} {{ type filter hook output priority 0; }}"),
            format!("flush chain {chain}"),
        ];
        if percent > 0 {
            let lost = format!("numgen random mod 100 < {percent} drop");
            rules.push(format!("add rule {chain} ip saddr {} ip daddr 127.0.0.1 {lost}", self.address((from, to))));
            // Answers on connections that the other node made.
            rules.push(format!("add rule {chain} ip saddr 127.0.0.1 ip daddr {} {lost}", self.address((to, from))));
        }
        if let Err(why) = self.rules(&rules) {
            panic!("nft took rules a moment ago: {why}");
        }
    }

    fn rules(&self, rules: &[String]) -> Result<(), String> {
        let nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut nft = nft.map_err(|e| format!("nft: {e}"))?;
        let text = rules.join("\n") + "\n";
        nft.stdin.take().map(|mut input| input.write_all(text.as_bytes())).transpose().map_err(|e| e.to_string())?;
        let done = nft.wait_with_output().map_err(|e| e.to_string())?;
        let told = String::from_utf8_lossy(&done.stderr);
        if done.status.success() { Ok(()) } else { Err(told.lines().next().unwrap_or("no reason").to_owned()) }
    }
}

impl Drop for Dropper {
    fn drop(&mut self) {
        let _ = self.rules(&[format!("delete table inet {}", self.table)]);
    }
}
