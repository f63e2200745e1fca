//! Certificates, lists and signatures made here.
