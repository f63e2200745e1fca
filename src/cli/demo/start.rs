//! Starting a demo: folder, certificates, first node, the others by invitation, the demo data, then the hints.

use super::{Args, control, data, layout::Layout, people, prescriptions, supervisor::Supervisor};
use crate::{
    cli::{
        args::Globals,
        failure::{Done, failure, file},
        output::progress,
    },
    ops::{admin_client::AdminClient, codes},
};
use serde_json::json;
use std::{future::Future, path::Path, process::Stdio, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// A node is ready within a second or two; a busy machine with a debug build takes longer.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at a node.
const LOOK: Duration = Duration::from_millis(50);

pub async fn run(globals: &Globals, args: &Args) -> Done {
    check_settings(globals)?;
    let temporary = args.dir.is_none().then(|| std::env::temp_dir().join(format!("spine-demo-{}", std::process::id())));
    let dir = args.dir.clone().or_else(|| temporary.clone()).unwrap_or_default();
    std::fs::create_dir_all(&dir).map_err(|e| file("the folder cannot be made", &dir, &e))?;
    let layout = Layout::new(&dir, args.port);
    let done = demo(globals, args, &layout).await;
    let _ = std::fs::remove_file(layout.control());
    let _ = std::fs::remove_file(layout.record());
    if let Some(dir) = temporary {
        let _ = std::fs::remove_dir_all(dir);
    }
    done
}

/// `--set` is checked before anything starts, with the demo's own environment.
fn check_settings(globals: &Globals) -> Done {
    let mut layers = crate::config::Layers::defaults();
    let demo = ["site.environment=demo", "node.data=/nonexistent"].map(String::from);
    for set in demo.iter().chain(&globals.set) {
        layers.add_assignment(set).map_err(crate::cli::failure::config)?;
    }
    crate::config::Settings::from_layers(&layers).map_err(crate::cli::failure::config)?;
    Ok(())
}

async fn demo(globals: &Globals, args: &Args, layout: &Layout) -> Done {
    if control::running(layout).await {
        let why = format!("{} is served", layout.control().display());
        return Err(failure(
            &codes::CLI_DEMO,
            "a demo runs in this folder already",
            why,
            "stop it first, or name another --dir",
        ));
    }
    let _ = std::fs::remove_file(layout.record());
    let nodes = args.nodes.max(layout.existing_nodes());
    ports_are_free(layout, nodes)?;
    layout.make_certificates(nodes, data::CLIENTS, data::SHARED_KEY)?;
    for n in 1..=nodes {
        layout.write_config(n, nodes)?;
    }
    let program =
        std::env::current_exe().map_err(|e| file("the program cannot be found", Path::new("/proc/self/exe"), &e))?;
    let (asks, mut asked) = mpsc::channel(8);
    let listening = control::listen(layout, asks).map_err(|e| file("the demo cannot listen", &layout.control(), &e))?;
    let mut supervisor = Supervisor::new(layout.clone(), program.clone(), globals.set.clone(), !args.no_restart, nodes);
    let stop = stopped();
    tokio::pin!(stop);
    let done = tokio::select! {
        started = bring_up(&mut supervisor, layout, &program, nodes, args) => started.map(|()| true),
        () = &mut stop => Ok(false),
    };
    let done = match done {
        Ok(true) => {
            supervisor.record()?;
            hints(layout, nodes, &program);
            supervisor.run(&mut asked, stop).await
        }
        other => other.map(|_| ()),
    };
    progress("stopping…");
    supervisor.stop().await;
    listening.abort();
    done
}

async fn bring_up(supervisor: &mut Supervisor, layout: &Layout, program: &Path, nodes: u16, args: &Args) -> Done {
    let began = Instant::now();
    let member = |n: u16| layout.peer_cert(n).exists();
    if !member(1) {
        progress("making a site with node 1");
        let partitions = args.partitions.to_string();
        command(program, layout, 1, &["init", "--partitions", &partitions]).await?;
    }
    for n in (1..=nodes).filter(|n| member(*n)) {
        supervisor.start(n)?;
    }
    wait_ready(supervisor, layout, 1).await?;
    let first = AdminClient::new(&layout.socket(1));
    for n in (2..=nodes).filter(|n| !member(*n)).collect::<Vec<_>>() {
        progress(&format!("node {n} joins"));
        let told = first.post("/v1/cluster/invite", &json!({"number": n, "minutes": 30})).await?;
        let token = told["token"].as_str().unwrap_or_default().to_owned();
        command(program, layout, n, &["join", &token]).await?;
        supervisor.start(n)?;
    }
    for n in 2..=nodes {
        wait_ready(supervisor, layout, n).await?;
    }
    wait_votes(&first, nodes).await?;
    progress("registering organisations, systems, mailboxes and workflows");
    data::register(&first, layout).await?;
    people::load(&first, layout, args.people).await?;
    prescriptions::load(layout, nodes, args.people).await?;
    progress(&format!("{nodes} nodes ready after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Runs one of our own commands for node `n`.
async fn command(program: &Path, layout: &Layout, n: u16, args: &[&str]) -> Done {
    let mut command = tokio::process::Command::new(program);
    command.args(args).arg("--config").arg(layout.config(n)).arg("--quiet").stdin(Stdio::null());
    let ran = command.output().await.map_err(|e| file("the program cannot be run", program, &e))?;
    if ran.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&ran.stderr).into_owned();
    let line = |mark: &str| text.lines().find_map(|l| l.trim().strip_prefix(mark)).unwrap_or_default().to_owned();
    Err(failure(&codes::CLI_DEMO, format!("node {n}: {}", line("error: ")), line("why: "), line("fix: ")))
}

async fn wait_ready(supervisor: &mut Supervisor, layout: &Layout, n: u16) -> Done {
    let client = AdminClient::new(&layout.socket(n));
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::from("it has not answered");
    while Instant::now() < deadline {
        if let Some(status) = supervisor.ended(n) {
            last = format!("its process ended: {status}");
            break;
        }
        match client.text("/readyz").await {
            Ok((true, _)) => return Ok(()),
            Ok((false, text)) => last = text.lines().next().unwrap_or_default().into(),
            Err(e) => last = e.why,
        }
        tokio::time::sleep(LOOK).await;
    }
    let log = layout.log(n);
    let tail = std::fs::read_to_string(&log).unwrap_or_default();
    let tail = tail.lines().next_back().map(|l| format!("; the log ends: {l}")).unwrap_or_default();
    let fix = format!("read {}", log.display());
    Err(failure(&codes::CLI_NOT_READY, format!("node {n} did not become ready"), format!("{last}{tail}"), fix))
}

/// A ready node may still be learning in some partition. Whoever kills a node must find the others able to go on, so
/// the site counts as ready when every node has its vote everywhere.
async fn wait_votes(client: &AdminClient, nodes: u16) -> Done {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = client.get("/v1/cluster").await?;
        let partitions = told["partitions"].as_array().cloned().unwrap_or_default();
        let count = |p: &serde_json::Value, field: &str| p[field].as_array().map_or(0, Vec::len);
        let settled = |p: &serde_json::Value| count(p, "voters") == usize::from(nodes) && count(p, "learners") == 0;
        if !partitions.is_empty() && partitions.iter().all(settled) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let fix = "see `spine cluster status` on node 1, and the nodes' logs";
            return Err(failure(&codes::CLI_NOT_READY, "not every node got its vote", "some are still learning", fix));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn ports_are_free(layout: &Layout, nodes: u16) -> Done {
    for n in 1..=nodes {
        for address in [layout.supplier(n), layout.peer(n), layout.ops(n), layout.api(n), layout.ldap(n)] {
            if let Err(e) = std::net::TcpListener::bind(address) {
                let fix = "stop the other program (perhaps another demo), or choose another --port";
                return Err(failure(&codes::CLI_PORT, format!("{address} cannot be used"), e.to_string(), fix));
            }
        }
    }
    Ok(())
}

/// Ends at Ctrl-C or SIGTERM.
fn stopped() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    async move {
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals else { return };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// What to try next. stdout, because it is the result.
fn hints(layout: &Layout, nodes: u16, program: &Path) {
    let (spine, dir) = (program.display(), layout.dir.display());
    let (cert, key) = layout.client(data::CLIENTS[0].name);
    let curl = format!("curl --cacert {} --cert {} --key {}", layout.ca().display(), cert.display(), key.display());
    let url = |n: u16| format!("https://localhost:{}/messageexchange", layout.supplier(n).port());
    let token = |mailbox: &str| data::token(data::SHARED_KEY, mailbox, data::PASSWORD);
    let other = if nodes > 1 { 2 } else { 1 };
    let text = format!(
        "\nThe site is ready: {nodes} nodes, everything about it in {dir}/demo.json\n\n\
         Send a message from X26ABC1 to X26ABC2 (each token is good for one request):\n\n  \
         {curl} \\\n    -H 'Authorization: {}' \\\n    -H 'Mex-To: X26ABC2' -H 'Mex-WorkflowID: TEST_WORKFLOW' \\\n    \
         -H 'Content-Type: text/plain' --data-binary 'hello' {}/X26ABC1/outbox\n\n\
         See it arrive, at another node:\n\n  {curl} \\\n    -H 'Authorization: {}' \\\n    {}/X26ABC2/inbox\n\n\
         Collect it:       GET …/X26ABC2/inbox/ID, then PUT …/X26ABC2/inbox/ID/status/acknowledged (docs/demo.md)\n\
         A fresh token:    {spine} demo token X26ABC1 --dir {dir}\n\
         An access token:  curl --cacert {ca} -H \"Authorization: Bearer $({spine} demo token --as {app} --dir {dir})\" {api}/oauth2/userinfo\n\
         How the site is:  {spine} status --socket {}\n\
         Kill a node:      {spine} demo kill 1 --dir {dir}\n\
         Load it:          {spine} bench mesh --demo {dir}\n\
         Stop everything:  Ctrl-C\n",
        token("X26ABC1"),
        url(1),
        token("X26ABC2"),
        url(other),
        layout.socket(other).display(),
        ca = layout.ca().display(),
        app = data::APPLICATIONS[0].name,
        api = layout.api_url(),
    );
    crate::cli::output::line(&text);
}
