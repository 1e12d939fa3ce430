//! A TCP proxy that misbehaves on request, between the service and Postgres or an S3 server.
//!
//! It looks at what the client sends: a fault is planned for some of the times that a marker (such as `COMMIT` or
//! `PUT `) comes by. So a connection is cut in the middle of a transaction, or an answer is lost after the server did its work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens when the marker comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// The connection is cut before the server sees it.
    CutBefore,
    /// The server gets it and answers; the answer is lost and the connection cut.
    CutAfter,
    /// The server gets only half of what was sent with it.
    CutWithin,
    /// It is refused with HTTP's 503 in the server's place.
    Refuse,
    /// It is held up for this long, ms.
    Delay(u64),
}

#[derive(Debug, Default)]
struct Plan {
    marker: Vec<u8>,
    /// One of so many passages of the marker; 0 = never.
    every: u64,
    mischief: Option<Mischief>,
}

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Plan>,
    passages: AtomicU64,
    done: AtomicU64,
}

/// A running proxy; ends when dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Starts before the server on `port` of this machine.
    pub async fn start(server_port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, server_port, Arc::clone(&shared)));
                }
            }
        });
        Proxy { port, shared, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, about each `every`-th time that a client sends `marker`.
    pub fn plan(&self, marker: &str, every: u64, mischief: Mischief) {
        self.shared.passages.store(0, Ordering::SeqCst);
        *self.shared.plan.lock().unwrap() = Plan { marker: marker.into(), every, mischief: Some(mischief) };
    }

    /// No more mischief.
    pub fn behave(&self) {
        *self.shared.plan.lock().unwrap() = Plan::default();
    }

    /// How often it has misbehaved.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// What to do about what a client sends.
    fn decide(&self, sent: &[u8]) -> Option<Mischief> {
        let plan = self.plan.lock().unwrap();
        let found = !plan.marker.is_empty() && sent.windows(plan.marker.len()).any(|w| w == plan.marker);
        if !found || plan.every == 0 {
            return None;
        }
        // As if drawn, but the same each time: at fixed distances the same step would be hit again and again.
        let drawn =
            self.passages.fetch_add(1, Ordering::SeqCst).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        if !drawn.is_multiple_of(plan.every) {
            return None;
        }
        self.done.fetch_add(1, Ordering::SeqCst);
        plan.mischief
    }
}

async fn serve(mut client: TcpStream, server_port: u16, shared: Arc<Shared>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let n = match read { Ok(n) if n > 0 => n, _ => return };
                let sent = &from_client[..n];
                match shared.decide(sent) {
                    None => {}
                    Some(Mischief::CutBefore) => return,
                    Some(Mischief::CutWithin) => {
                        let _ = server.write_all(&sent[..n / 2]).await;
                        return;
                    }
                    Some(Mischief::CutAfter) => {
                        if server.write_all(sent).await.is_ok() {
                            // Its answer, or its end: either way the work is done.
                            let _ = tokio::time::timeout(Duration::from_secs(5), server.read(&mut from_server)).await;
                        }
                        return;
                    }
                    Some(Mischief::Refuse) => {
                        let answer = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        let _ = client.write_all(answer).await;
                        // What is left of the request is read, so that the answer is not lost in a reset.
                        let _ = tokio::time::timeout(Duration::from_millis(20), async {
                            while client.read(&mut from_client).await.is_ok_and(|n| n > 0) {}
                        })
                        .await;
                        return;
                    }
                    Some(Mischief::Delay(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let n = match read { Ok(n) if n > 0 => n, _ => return };
                if client.write_all(&from_server[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
