//! One keep-alive connection to a node. The connection is driven from the task that asks, so that a request costs no
//! switch between tasks. When it breaks, the next request goes to the next node, as a supplier's client would.

use super::site::{Site, Target};
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

type Io = TokioIo<TlsStream<TcpStream>>;

/// Why there is no answer. The effect of a request that failed so is unknown, unless it was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    Connect,
    Handshake,
    Closed,
    Timeout,
}

impl Failure {
    pub fn name(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Handshake => "handshake",
            Failure::Closed => "closed",
            Failure::Timeout => "timeout",
        }
    }
}

pub struct Client {
    targets: Vec<Target>,
    at: usize,
    tls: TlsConnector,
    patience: Duration,
    live: Option<Live>,
}

struct Live {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<Connection<Io, Full<Bytes>>>>,
}

impl Client {
    /// The `number`th client begins at the `number`th node, so that clients spread evenly.
    pub fn new(site: &Site, number: usize, patience: Duration) -> Client {
        let tls = TlsConnector::from(Arc::clone(&site.tls));
        Client { targets: site.targets.clone(), at: number % site.targets.len(), tls, patience, live: None }
    }

    /// What the `host` header must say for the node that comes next.
    pub fn authority(&self) -> &str {
        &self.targets[self.at].authority
    }

    /// Connects if there is no connection; so that a phase does not measure handshakes.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        if self.live.is_none() {
            match timeout(self.patience, dial(&self.targets[self.at], &self.tls)).await {
                Ok(Ok(live)) => self.live = Some(live),
                Ok(Err(failure)) => return Err(self.next_node(failure)),
                Err(_) => return Err(self.next_node(Failure::Timeout)),
            }
        }
        Ok(())
    }

    /// Sends one request and reads the whole answer.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        self.connect().await?;
        let Some(Live { sender, connection }) = &mut self.live else { return Err(Failure::Closed) };
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            Ok::<_, hyper::Error>(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        match timeout(self.patience, drive(connection, exchange)).await {
            Ok(Some(Ok(answer))) => {
                if sender.is_closed() {
                    self.live = None;
                }
                Ok(answer)
            }
            Ok(Some(Err(_)) | None) => Err(self.next_node(Failure::Closed)),
            Err(_) => Err(self.next_node(Failure::Timeout)),
        }
    }

    fn next_node(&mut self, failure: Failure) -> Failure {
        self.live = None;
        self.at = (self.at + 1) % self.targets.len();
        failure
    }
}

async fn dial(target: &Target, tls: &TlsConnector) -> Result<Live, Failure> {
    let tcp = TcpStream::connect(target.address).await.map_err(|_| Failure::Connect)?;
    tcp.set_nodelay(true).map_err(|_| Failure::Connect)?;
    let stream = tls.connect(target.name.clone(), tcp).await.map_err(|_| Failure::Handshake)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Handshake)?;
    Ok(Live { sender, connection: Box::pin(connection) })
}

/// Runs the connection and a request on it together. `None` if the connection ended before the answer was whole.
async fn drive<T>(
    connection: &mut Pin<Box<Connection<Io, Full<Bytes>>>>,
    exchange: impl Future<Output = T>,
) -> Option<T> {
    let mut exchange = pin!(exchange);
    poll_fn(move |cx| {
        // First poll of the exchange hands the request over; then the connection has something to write.
        if let Poll::Ready(done) = exchange.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let over = connection.as_mut().poll(cx).is_ready();
        match exchange.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if over => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
