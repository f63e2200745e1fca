//! `spine serve`: runs a node in the foreground until a signal stops it.

use super::{
    args::Globals,
    failure::{Done, Failure, exit, failure},
};
use crate::{
    node::{self, NodeError},
    ops::{codes, logging},
};
use std::{future::Future, io::IsTerminal};

/// The consensus library tells every vote at info; what matters of it our own rooms say.
const DEFAULT_LOG: &str = "info,openraft=error";

const STAYS_DOWN: &str = "the node cannot start";

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine serve\n  SPINE_LOG=debug spine serve --config ./spine.toml")]
pub struct Args {
    /// Stop when stdin is closed, as the demo does for its nodes
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

pub fn run(globals: &Globals, args: Args) -> Done {
    let settings = globals.settings()?;
    let filter = std::env::var("SPINE_LOG").ok().filter(|f| !f.is_empty()).unwrap_or_else(|| DEFAULT_LOG.into());
    let format = if std::io::stdout().is_terminal() { logging::Format::Text } else { logging::Format::Json };
    logging::install(&filter, format, &settings.node.name).map_err(|e| {
        failure(&codes::CLI_USAGE, "SPINE_LOG cannot be used", e, "write it as info or info,spine::edge=debug")
    })?;
    // The allocator asks for huge pages: an idle node would hold 90 MiB that it never uses. Measured: docs/performance.md.
    if let Err(e) = nix::sys::prctl::set_thp_disable(true) {
        tracing::info!(event = "node.huge_pages", error = %e, "huge pages stay on");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("spine").build();
    let runtime = runtime.map_err(|e| Failure::of(&codes::CLI_FILE, "the program cannot start", e.to_string()))?;
    let done = runtime.block_on(async {
        let stop = asked_to_stop(args.until_stdin_closes);
        node::run(settings, stop).await
    });
    // Blocking work that is still under way holds nothing that matters after the last sync.
    runtime.shutdown_background();
    done.map_err(explained)
}

fn explained(error: NodeError) -> Failure {
    let text = error.to_string();
    match error {
        NodeError::Identity(node::identity::IdentityError::NoCertificate(_)) => {
            Failure::of(&codes::CLI_NOT_INITIALISED, codes::CLI_NOT_INITIALISED.words, text)
        }
        NodeError::Identity(node::identity::IdentityError::OtherNode { .. }) => {
            Failure::of(&codes::OTHER_NODES_DATA, STAYS_DOWN, text).with_exit(exit::REFUSED)
        }
        NodeError::Refused { code, .. } => Failure::of(code, STAYS_DOWN, text).with_exit(exit::REFUSED),
        NodeError::Damaged(_) => {
            Failure::of(&codes::ROWS_DAMAGED, "the node ends, so that its next start rebuilds rows", text)
                .with_exit(exit::FAILED)
        }
        NodeError::Listen { .. } => Failure::of(&codes::CLI_PORT, STAYS_DOWN, text),
        NodeError::Tls(_) => Failure::of(&codes::TLS_FILES, STAYS_DOWN, text),
        _ => Failure::of(&codes::CLI_FILE, STAYS_DOWN, text).with_exit(exit::FAILED),
    }
}

/// Ends at SIGTERM, SIGINT or, where asked, when stdin closes.
fn asked_to_stop(stdin: bool) -> impl Future<Output = &'static str> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    let (terminate, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    // Caught and left alone: a terminal that goes away must not end a node.
    let hangup = signal(SignalKind::hangup());
    let (closed_tx, closed) = tokio::sync::oneshot::channel::<()>();
    let mut unwatched = Some(closed_tx);
    if let Some(tell) = unwatched.take_if(|_| stdin) {
        // A thread of its own: a read of stdin cannot be cancelled, and must not hold up the runtime's end.
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while matches!(std::io::Read::read(&mut std::io::stdin(), &mut buffer), Ok(n) if n > 0) {}
            let _ = tell.send(());
        });
    }
    async move {
        let _kept = (unwatched, hangup);
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = closed => "stdin closed",
        }
    }
}
