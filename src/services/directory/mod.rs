//! The site's registry: systems, mailboxes, workflows, members. One truth, changed by commands.

pub mod rows;
