//! Servers: what one does, where it is reached, and two on this machine where none are named.

use std::{
    fmt, fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::mpsc,
    thread,
    time::Duration,
};

use burn::{
    remote::{EndpointId, IrohHost, IrohRelays, RemoteHost},
    server::{IrohIdentity, IrohTransport, RemoteServer, TokenAuthorizer},
    tensor::Device,
};
use burn_multi_positive::remote::serve_kernels;
use clap::Args;

/// How long a server on this machine may take to say where it is.
const START: Duration = Duration::from_secs(30);

/// Where a server is reached: its id, which it proves to have, and its socket.
#[derive(Clone, Debug)]
pub struct Address {
    id: EndpointId,
    socket: SocketAddr,
}

impl Address {
    /// Whether the server is on this machine.
    pub fn is_local(&self) -> bool {
        self.socket.ip().is_loopback()
    }

    /// The first device of the server, with its session opened.
    ///
    /// # Errors
    ///
    /// If the server does not answer for half a minute, or refuses.
    pub fn connect(&self, token: Option<&str>) -> Result<Device, String> {
        let host = IrohHost::new(self.id).with_relays(IrohRelays::Disabled);
        let host = RemoteHost::iroh(host.with_address(self.socket));
        let host = match token {
            Some(token) => host.with_credential(token),
            None => host,
        };
        let device = Device::remote_options(&host).device_index(0).init();
        device.map_err(|error| format!("{self}: {error}"))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "expected ID@HOST:PORT, as `serve` prints it with the name of its machine";
        let (id, socket) = text.trim().split_once('@').ok_or(form)?;
        let id = id.parse().map_err(|error| format!("{form}: {error}"))?;
        let sockets = socket.to_socket_addrs();
        let mut sockets = sockets.map_err(|error| format!("{socket}: {error}"))?;
        // The server listens on IPv4 always.
        let socket = sockets.find(SocketAddr::is_ipv4);
        let socket =
            socket.ok_or_else(|| format!("{text}: no IPv4 address, which servers listen on"))?;
        Ok(Self { id, socket })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.socket)
    }
}

/// Serve this machine's device until Ctrl+C.
#[derive(Args)]
pub struct Serve {
    /// UDP port [default: one that is free]
    #[arg(long)]
    port: Option<u16>,
    /// The server's key, made if there is no such file: with it the server has the same id each
    /// time [default: another key, and id, each time]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Serve only those who have the text of this file, too [default: serve everybody]
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// End when the standard input does
    #[arg(long, hide = true)]
    with_stdin: bool,
}

impl Serve {
    pub fn run(&self) -> Result<(), String> {
        let identity = match &self.key {
            Some(path) => IrohIdentity::load_or_create(path)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None => IrohIdentity::random(),
        };
        let port = match self.port {
            Some(port) => port,
            None => free_port().map_err(|error| format!("no free port: {error}"))?,
        };
        let device = Device::default();
        let mut server = RemoteServer::new([device.clone()]);
        // There are kernels for servers with Burn's CPU backend.
        if device == Device::flex() {
            server = serve_kernels(server);
        } else {
            eprintln!("{device:?} has no kernels to serve: --kernels will not work");
        }
        if self.token.is_none() && !self.with_stdin {
            eprintln!("no --token: whoever has this id can use the machine");
        }
        if let Some(path) = &self.token {
            let authorizer = TokenAuthorizer::new(read_token(path)?);
            server = server.with_authorizer(authorizer.map_err(|error| error.to_string())?);
        }
        if self.with_stdin {
            thread::spawn(|| {
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                std::process::exit(0);
            });
        }
        let transport = IrohTransport::new(identity)
            .with_relays(IrohRelays::Disabled)
            .with_port(port);
        println!("{}@127.0.0.1:{port}", transport.id());
        let served = server.serve(transport);
        served.map_err(|error| format!("port {port}: {error}"))
    }
}

/// The text of a file without white space around it.
pub fn read_token(path: &Path) -> Result<String, String> {
    let token = fs::read_to_string(path);
    let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(token.trim().to_string())
}

/// Burn takes a number only; another process could take the port before it does.
fn free_port() -> std::io::Result<u16> {
    Ok(UdpSocket::bind("0.0.0.0:0")?.local_addr()?.port())
}

/// A server on this machine, which ends with this value or with this process.
pub struct Own {
    child: Child,
    pub address: Address,
}

impl Own {
    /// This program once more.
    pub fn start() -> Result<Self, String> {
        let start = || -> std::io::Result<_> {
            let mut child = Command::new(std::env::current_exe()?)
                .args(["serve", "--with-stdin"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let output = child.stdout.take().expect("a pipe");
            Ok((child, output))
        };
        let (mut child, output) = start().map_err(|error| format!("a server: {error}"))?;
        let (said, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            let _ = said.send(read.map(|_| line));
        });
        let line = match line.recv_timeout(START) {
            Ok(Ok(line)) => line.parse(),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it said nothing in {START:?}")),
        };
        match line {
            Ok(address) => Ok(Self { child, address }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("a server did not start: {error}"))
            }
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a server answers, asked by a process of its own: a device that lost its session has
/// lost it for the whole of this process.
pub fn answers(address: &Address, token: Option<&Path>) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["check", "--server", &address.to_string()]);
        if let Some(path) = token {
            command.arg("--token").arg(path);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.status()?.success())
    };
    ask().unwrap_or(false)
}
