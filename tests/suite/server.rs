//! Servers that are processes of their own: a test of this binary once more.

use burn::{
    remote::{EndpointId, IrohHost, IrohRelays, RemoteHost},
    server::{IrohIdentity, IrohTransport},
    tensor::Device,
};
use std::{
    env,
    io::{self, BufRead, BufReader, Read},
    net::UdpSocket,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{self, Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Names a process that is to serve.
const SERVER: &str = "SUITE_SERVER";

/// Some times what a test takes on two busy cores; a server that is killed is missed for
/// 30 seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// How long a server may take to say where it is.
const START: Duration = Duration::from_secs(60);

/// A process that serves until this is dropped, or until this process ends.
pub struct Server {
    child: Child,
    /// What it [said](say).
    pub said: String,
}

impl Server {
    /// As a machine does that loses its power.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a test of this binary, by its full name, that calls [`as_server`], with what it is told.
pub fn start(test: &str, told: &str) -> Server {
    let binary = env::current_exe().expect("the path of this binary");
    let mut child = Command::new(binary)
        .args(["--exact", test, "--nocapture"])
        .env(SERVER, told)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let output = child.stdout.take().expect("its output");
    // Killed from here on, whatever happens.
    let mut server = Server {
        child,
        said: String::new(),
    };
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, said)) = line.split_once(SERVER) {
                let _ = sender.send(said.trim().to_string());
            }
        }
    });
    let said = said.recv_timeout(START);
    server.said = said.expect("a server that says where it is");
    server
}

/// Runs `serve` in a process that [`start`] started, and ends it when that process is gone.
pub fn as_server(serve: impl FnOnce(&str)) {
    let Ok(told) = env::var(SERVER) else {
        return;
    };
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    serve(&told);
}

/// What a server has to say to those who started it.
pub fn say(text: &str) {
    println!("{SERVER} {text}");
}

/// A UDP port that was free.
pub fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("its number").port()
}

/// What a server listens with, and how it is reached from this machine.
pub fn transport(identity: IrohIdentity, port: u16) -> (IrohTransport, String) {
    let transport = IrohTransport::new(identity)
        .with_relays(IrohRelays::Disabled)
        .with_port(port);
    let address = format!("{}@127.0.0.1:{port}", transport.id());
    (transport, address)
}

/// A device of a server; each index has a session of its own.
pub fn connect(address: &str, index: usize) -> Device {
    let (id, socket) = address.split_once('@').expect("an address");
    let id: EndpointId = id.parse().expect("an id");
    let host = IrohHost::new(id).with_relays(IrohRelays::Disabled);
    let host = RemoteHost::iroh(host.with_address(socket.parse().expect("a socket")));
    let device = Device::remote_options(&host).device_index(index).init();
    device.expect("a device")
}

/// Runs a check in a thread that is left behind if it does not end.
pub fn bounded(check: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let checked = catch_unwind(AssertUnwindSafe(check));
        let _ = done.send(());
        checked
    });
    let ended = ended.recv_timeout(LIMIT);
    ended.unwrap_or_else(|_| panic!("still waiting after {LIMIT:?}"));
    if let Err(payload) = thread.join().expect("a thread that catches") {
        resume_unwind(payload);
    }
}
