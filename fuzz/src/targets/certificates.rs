//! Certificates and revocation lists as files hold them. Trust is the TLS library's alone; this reads for metrics, for
//! the registry and for people.

use super::{KIB, Target};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use spine::edge::peer::Peer;
use spine::node::pki::{self, Authority};

pub const TARGET: Target = Target { name: "certificates", run, seeds, longest: 4 << 10, base: 256 * KIB, factor: 200 };

fn run(input: &[u8]) {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    if let Some(peer) = Peer::new(&[CertificateDer::from(input)], address) {
        assert!(peer.caller().common_name.chars().count() <= 200, "the name goes into each audit record");
        assert_eq!(peer.certificate().len(), 64);
    }
    let _ = pki::describe_der(input);
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = pki::describe(text);
        let _ = pki::revoked(text);
        if let Some((number, site)) = pki::parse_node_common_name(text) {
            assert_eq!(pki::parse_node_common_name(&pki::node_common_name(number, site)), Some((number, site)));
        }
    }
}

/// Of keys made here and thrown away.
fn seeds() -> Vec<Vec<u8>> {
    let authority = Authority::create("A seed authority", 36_500).expect("an authority can be made");
    let issued = authority.issue(&pki::node_wanted(7, "a-site")).expect("a certificate can be made");
    let list = authority.revoke("", &[vec![1, 2, 3]]).expect("a list can be made");
    let certificate = CertificateDer::from_pem_slice(issued.cert.as_bytes()).expect("it is PEM").to_vec();
    let revoked = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).expect("it is PEM").to_vec();
    vec![
        certificate,
        revoked,
        issued.cert.into_bytes(),
        list.into_bytes(),
        pki::node_common_name(7, "a-site").into_bytes(),
        b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_vec(),
    ]
}
