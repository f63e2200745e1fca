//! Compressed bodies on their way in and out: what is small and unpacks to much never unpacks in memory (P6).

use crate::support::{Client, Server};
use flate2::{Compression, write::GzEncoder};
use spine::edge::options::Options;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

const MIB: u64 = 1 << 20;

/// Resident memory of this process, which holds both ends.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// `members` gzip members of `each` mebibytes of zeros.
fn bomb(each: u64, members: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..each {
        encoder.write_all(&vec![0; MIB as usize]).unwrap();
    }
    encoder.finish().unwrap().repeat(members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gzip_bomb_is_stored_as_it_came_and_streams_out_in_bounded_memory() {
    let server = Server::start(Options::default()).await;
    // 64 MiB in 64 KiB, and as often as makes a body of 4 GiB that no machine of ours would hold.
    let body = bomb(64, 64);
    assert!(body.len() < 5 << 20, "{}", body.len());
    let mut client = Client::connect(&server).await;
    let before = resident();
    let answer = client.post("/write", "content-encoding: gzip\r\n", &body).await;
    let name = answer.text().strip_prefix("stored ").expect("large bodies are stored").to_owned();
    assert!(name.ends_with(&format!("-{}", body.len())), "stored as it came: {name}");
    client.send(format!("GET /inflate/{name} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
    let (mut read, mut most, mut piece) = (0u64, 0, vec![0; 1 << 20]);
    while read < 600 * MIB {
        let n = client.stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "ended after {read} bytes");
        read += n as u64;
        most = most.max(resident().saturating_sub(before));
    }
    println!("{read} bytes read of a bomb, {most} bytes more resident");
    assert!(most < 64 * MIB, "{most} bytes more for a stream of {read}");
    // A client that goes away ends the work; one that is there is served.
    drop(client);
    let begun = Instant::now();
    while server.connections() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the bomb goes off for nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Client::connect(&server).await.post("/write", "", b"x").await.status, 202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_a_bomb_cost_a_few_pieces_each() {
    let options = Options { write_timeout: Duration::from_secs(60), ..Options::default() };
    let server = Server::start(options).await;
    let name = {
        let mut client = Client::connect(&server).await;
        let answer = client.post("/write", "", &bomb(64, 16)).await;
        answer.text().strip_prefix("stored ").unwrap().to_owned()
    };
    let before = resident();
    let mut open = vec![];
    for _ in 0..16 {
        let mut client = Client::connect(&server).await;
        client.send(format!("GET /inflate/{name} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        // The head, and then nothing more.
        let mut head = [0; 12];
        client.stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        open.push(client);
    }
    // Long enough for the server to fill whatever it would fill.
    let (mut last, mut calm) = (0, 0);
    while calm < 10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = resident();
        calm = if now.abs_diff(last) < MIB { calm + 1 } else { 0 };
        last = now;
    }
    let each = last.saturating_sub(before) / open.len() as u64;
    println!("{each} bytes for a client that reads no further");
    assert!(each < 2 * MIB, "{each} bytes each");
}
