//! `demo kill` and `demo start` reach the running demo over `DIR/demo.sock`: one line asked, one line answered.

use super::layout::Layout;
use crate::{
    cli::failure::{Failure, failure},
    ops::codes,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

/// What the supervisor is asked to do, and where the answer goes: `Err` holds a reason.
pub struct Ask {
    pub verb: String,
    pub node: u16,
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// Whether a demo runs in the folder.
pub async fn running(layout: &Layout) -> bool {
    UnixStream::connect(layout.control()).await.is_ok()
}

/// Asks the running demo; done when it has answered.
pub async fn ask(layout: &Layout, verb: &str, node: u16) -> Result<(), Failure> {
    let none = |e: std::io::Error| {
        let why = format!("{}: {e}", layout.control().display());
        failure(&codes::CLI_DEMO, "no demo runs in this folder", why, "start one: spine demo --dir DIR")
    };
    let mut stream = UnixStream::connect(layout.control()).await.map_err(none)?;
    stream.write_all(format!("{verb} {node}\n").as_bytes()).await.map_err(none)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.map_err(none)?;
    match line.trim() {
        "ok" => Ok(()),
        why => {
            let what = format!("{verb} {node} was refused");
            Err(Failure::of(&codes::CLI_DEMO, what, why.trim_start_matches("error: ")))
        }
    }
}

/// Listens until dropped; asks go to the supervisor.
pub fn listen(layout: &Layout, asks: mpsc::Sender<Ask>) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let path = layout.control();
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    Ok(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asks = asks.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                // One short line; what is longer is not ours.
                if stream.read_line(&mut line).await.is_err() || line.len() > 64 {
                    return;
                }
                let answer = match serve(&line, &asks).await {
                    Ok(()) => "ok\n".into(),
                    Err(why) => format!("error: {why}\n"),
                };
                let _ = stream.get_mut().write_all(answer.as_bytes()).await;
            });
        }
    }))
}

async fn serve(line: &str, asks: &mpsc::Sender<Ask>) -> Result<(), String> {
    let (verb, node) = line.trim().split_once(' ').ok_or("not understood")?;
    let node = node.parse().map_err(|_| "not a node's number")?;
    let (answer, answered) = oneshot::channel();
    asks.send(Ask { verb: verb.into(), node, answer }).await.map_err(|_| "the demo is stopping")?;
    answered.await.unwrap_or_else(|_| Err("the demo is stopping".into()))
}
