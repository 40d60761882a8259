//! A TCP proxy that plants what networks do: requests that arrive late, connections that are cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use kafka_protocol::messages::ApiKey;

use kafka_cron::common::thread::{Joined, spawn};

/// Stands before a broker that must *advertise* the proxy's address, or clients go round it:
///
/// ```text
/// let port = free_port();
/// let own = OwnBroker::start_with(version(), &[&format!("advertised.listeners=PLAINTEXT://localhost:{port}")]);
/// let proxy = Proxy::start(port, own.port());
/// ```
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    accept: Option<Joined>,
}

struct Shared {
    // A mutex, for a test's orders must hold as soon as the call that gave them returns.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hold: Option<Hold>,
    ended: bool,
    pairs: Vec<Pair>,
}

/// What is held back.
#[derive(Clone, Copy)]
enum Hold {
    All,
    /// Requests of one kind, by Kafka's number for it. A client writes a request whole, and waits for its answer before
    /// the next, so each read begins with one.
    Kind(i16),
}

impl Hold {
    fn catches(self, request: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Kind(key) => request.get(4..6) == Some(&key.to_be_bytes()),
        }
    }
}

struct Pair {
    client: TcpStream,
    broker: TcpStream,
    /// What the client said while requests were held; once there is something, all that follows is held too.
    held: Vec<u8>,
}

impl Proxy {
    /// Listens on a port of 127.0.0.1 and carries each connection to another.
    pub fn start(port: u16, to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: Mutex::default() });
        let accept = spawn("proxy", {
            let shared = Arc::clone(&shared);
            move || accept(&shared, &listener, to)
        });
        Self { shared, address, accept: Some(accept.unwrap()) }
    }

    /// From now on what clients say is kept, on connections old and new.
    pub fn hold(&self) {
        self.shared.state.lock().unwrap().hold = Some(Hold::All);
    }

    /// From now on requests of one kind are kept, and what follows them on their connection.
    pub fn hold_only(&self, kind: ApiKey) {
        self.shared.state.lock().unwrap().hold = Some(Hold::Kind(kind as i16));
    }

    /// New requests pass again. A connection on which something is held keeps it, even when its client has gone.
    pub fn pass(&self) {
        self.shared.state.lock().unwrap().hold = None;
    }

    /// How many bytes of requests are held.
    pub fn held(&self) -> usize {
        self.shared.state.lock().unwrap().pairs.iter().map(|pair| pair.held.len()).sum()
    }

    /// Hands the broker what was held, on the connections that it was meant for.
    pub fn deliver(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.hold = None;
        for pair in &mut state.pairs {
            let held = std::mem::take(&mut pair.held);
            pair.broker.write_all(&held).unwrap();
        }
    }

    /// Cuts every connection, and what was held is lost.
    pub fn cut(&self) {
        for pair in self.shared.state.lock().unwrap().pairs.drain(..) {
            drop(pair.client.shutdown(Shutdown::Both));
            drop(pair.broker.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().ended = true;
        self.cut();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        self.accept.take();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, to: u16) {
    let mut carriers = Vec::new();
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let mut state = shared.state.lock().unwrap();
        if state.ended {
            return;
        }
        let Ok(broker) = TcpStream::connect(("127.0.0.1", to)) else { continue };
        client.set_nodelay(true).unwrap();
        broker.set_nodelay(true).unwrap();
        let id = broker.local_addr().unwrap();
        let (from_client, to_client) = (client.try_clone().unwrap(), client.try_clone().unwrap());
        let from_broker = broker.try_clone().unwrap();
        state.pairs.push(Pair { client, broker, held: Vec::new() });
        drop(state);
        let requests = Arc::clone(shared);
        carriers.push(spawn("proxy-requests", move || carry_requests(&requests, from_client, id)).unwrap());
        carriers.push(spawn("proxy-answers", move || carry_answers(from_broker, to_client)).unwrap());
    }
}

fn carry_requests(shared: &Shared, mut from: TcpStream, id: SocketAddr) {
    let mut buffer = [0; 65536];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let mut state = shared.state.lock().unwrap();
        let hold = state.hold;
        let mine = |pair: &Pair| pair.broker.local_addr().is_ok_and(|address| address == id);
        let Some(at) = state.pairs.iter().position(mine) else { return };
        let pair = &mut state.pairs[at];
        if count == 0 {
            // The client has gone. What is held may still be delivered.
            if pair.held.is_empty() && hold.is_none() {
                drop(pair.broker.shutdown(Shutdown::Both));
                state.pairs.swap_remove(at);
            }
            return;
        }
        if hold.is_some_and(|hold| hold.catches(&buffer[..count])) || !pair.held.is_empty() {
            pair.held.extend_from_slice(&buffer[..count]);
        } else if pair.broker.write_all(&buffer[..count]).is_err() {
            drop(pair.client.shutdown(Shutdown::Both));
            state.pairs.swap_remove(at);
            return;
        }
    }
}

fn carry_answers(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 65536];
    loop {
        match from.read(&mut buffer) {
            Ok(count @ 1..) => drop(to.write_all(&buffer[..count])), // the client may have given up
            _ => {
                drop(to.shutdown(Shutdown::Both));
                return;
            }
        }
    }
}
