//! Codes of the command line's own errors, and their long texts for `spine explain`. Codes are for ever.

macro_rules! codes {
    ($($name:ident $code:literal $title:literal $text:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*
        /// (code, title, long text), in order.
        pub const ALL: &[(&str, &str, &str)] = &[$(($code, $title, $text)),*];
    };
}

codes! {
    USAGE "SPN-2001" "The command was not understood"
        "An option, argument or verb is unknown, missing or contradicts another. Nothing was done. Every verb has help with \
         two examples: put --help behind it.";
    CONFIG "SPN-2002" "The configuration cannot be used"
        "A file under /etc/spine, a drop-in or a --set value holds an unknown key, a wrong type or a contradiction. The \
         message names file and line. Nothing in a configuration is ignored, and a running node keeps what it has. \
         `spine config check` reads the same files; `spine config show` tells where each value came from.";
    UNREACHABLE "SPN-2003" "No node answers on the admin socket"
        "Operators' commands talk to the node on this machine through a Unix socket (admin.socket, by default \
         /run/spine/admin.sock). It exists while the node runs, and belongs to root and the group spine. Start the node, \
         name another socket with --socket, or join the group.";
    FILE "SPN-2004" "A file could not be read or written"
        "The message names the file and what the operating system said. Check that it exists, that the user may use it, \
         and that the disk has room.";
    NOT_FOUND "SPN-2005" "There is nothing of that name"
        "The register, the site or the store holds nothing under the id given. List what there is with the noun's `list`.";
    ALREADY "SPN-2006" "It is already so"
        "The thing asked for is the case already, and --strict was given. Without --strict repeating a command is no error.";
    CONFIRM "SPN-2007" "The command wants --yes"
        "The verb can take something away. It has shown its plan; give --yes to do it. No question is asked, so that \
         scripts never hang.";
    ANSWER "SPN-2008" "The node's answer was not understood"
        "The program and the running node are probably of different releases. Compare `spine --version` with `spine status`.";
    UNAVAILABLE "SPN-2009" "The site cannot take this write now"
        "No majority of nodes agrees on a leader, the queue is full, or the disk is nearly full. `spine cluster status` \
         shows which nodes are seen and how far they are. Repeating the command is safe.";
    PORT "SPN-2010" "A port is in use"
        "Another program listens where this one should. Stop it, or choose another port.";
    DEMO "SPN-2011" "The demo is not in the state needed"
        "`spine demo kill` and `spine demo start` act on a demo that runs with the same --dir. Starting a second demo in \
         a folder where one runs is refused.";
    NOT_READY "SPN-2012" "A node did not become ready in time"
        "The process runs or has ended, but /readyz does not say yes. Its log tells why; in a demo it is \
         DIR/node-N/log.";
    NOT_INITIALISED "SPN-2013" "This node belongs to no site yet"
        "The node has no certificate of a site. On the first node run `spine init`; on others ask for a token with \
         `spine cluster invite` and run `spine join TOKEN`.";
    INITIALISED "SPN-2014" "This node already belongs to a site"
        "Its certificate or data name a site, and the command would make it belong to another. Wipe node.data and the peer \
         certificates first if that is meant.";
    TOKEN "SPN-2015" "The invitation cannot be used"
        "A token is good for one node and 30 minutes, and for the site that made it. Ask for a new one with \
         `spine cluster invite`.";
    CERTIFICATE "SPN-2016" "A certificate could not be made or read"
        "The message names the file and what is wrong with it. Certificates, keys and requests are PEM files.";
    HANDSHAKE "SPN-2017" "The TLS handshake failed"
        "The other side was reached but did not accept the connection, or its certificate was not accepted. Usual causes: \
         the certificate is for another name, has run out, comes from another authority, or is revoked; or no client \
         certificate was given where one is needed.";
    DEGRADED "SPN-2018" "It works, but not as it should"
        "Something is missing that the site can do without for a time: a node is down, a certificate runs out soon, a \
         disk fills. The lines above name it, with the remedy.";
    FAULT "SPN-2019" "The node failed inside"
        "The node met something that should not be. Its log has a line with the same moment. Nothing was done.";
    AUDIT "SPN-2020" "The audit chain is broken"
        "A record was changed, is missing or out of order. Keep the disks as they are: compare with the other nodes' \
         chains, and treat it as a security incident.";
    BAD_VALUE "SPN-2021" "A value was refused"
        "The register does not take the value: the message names the field and the form it must have.";
    TRANSFER "SPN-2101" "Leadership could not be handed over"
        "The node asked for is not a voter, is not seen, or is too far behind. Leadership stays where it is.";
    UNSAFE_REMOVE "SPN-2107" "Removing the node would endanger the site"
        "After the removal the remaining voters would not be enough to lose one more, or one of them is far behind. \
         Add or repair a node first. --force overrides, and may lose data.";
}

/// Title and long text of a code.
pub fn find(code: &str) -> Option<(&'static str, &'static str)> {
    ALL.iter().find(|(c, ..)| c.eq_ignore_ascii_case(code)).map(|(_, title, text)| (*title, *text))
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_rise_and_never_repeat() {
        assert!(super::ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
