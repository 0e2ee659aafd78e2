//! Fused kernels on devices of other machines.
//!
//! By default a remote device composes a loss from Burn operations, and each of them is a
//! message to its server. A server that [serves kernels](serve_kernels) computes the
//! statistics of a batch in one operation, as fast as for a program on its own machine. A
//! client calls [`use_kernels`] for each device that should use them.
//!
//! The server, which needs the feature `remote-server`:
//!
//! ```no_run
//! # #[cfg(feature = "remote-server")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use burn::{
//!     server::{IrohIdentity, IrohTransport, RemoteServer},
//!     tensor::Device,
//! };
//! use burn_multi_positive::remote;
//!
//! let transport = IrohTransport::new(IrohIdentity::load_or_create("server.key")?);
//! println!("server id: {}", transport.id());
//! let server = remote::serve_kernels(RemoteServer::new([Device::flex()]));
//! server.serve(transport)?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "remote-server"))]
//! # fn main() {}
//! ```
//!
//! Its client, which needs the feature `remote`:
//!
//! ```no_run
//! use burn::{
//!     remote::{EndpointId, RemoteHost},
//!     tensor::{Device, Tensor},
//! };
//! use burn_multi_positive::{LsePairLossConfig, remote};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server: EndpointId = std::env::args().nth(1).ok_or("the id of a server")?.parse()?;
//! let device = Device::remote_options(&RemoteHost::iroh(server)).init()?.autodiff();
//! remote::use_kernels(&device)?;
//!
//! let scores = Tensor::<2>::from_floats([[0.8, 0.2, 0.5]], &device).require_grad();
//! let positives = Tensor::from_bool([[true, true, false]], &device);
//! let loss = LsePairLossConfig::new().init().forward(scores.clone(), positives);
//! let gradients = loss.backward();
//! # Ok(())
//! # }
//! ```
//!
//! With kernels, losses and gradients are those of `Device::flex()` on the machine of the
//! server. Losses from embeddings are computed for some queries at a time. Ids, labels and
//! groups are sent as they are, not as masks.

use std::{error::Error, fmt};

use burn::tensor::Device;

use crate::{
    device,
    statistics::remote::{VERSION, client},
};

/// Makes losses on a remote device use the kernels of its server, from now on and in the whole
/// process. The device may be with or without autodiff.
///
/// The call asks the server for its kernels and waits for one answer. Call it before any
/// tensor is on the device: after [`KernelsError::NoAnswer`] the tensors of the device are
/// lost. If the server was killed, the call notices it after half a minute.
///
/// # Errors
///
/// - [`KernelsError::NotRemote`] if the device is not remote.
/// - [`KernelsError::NoAnswer`] if the server does not [serve kernels](serve_kernels), or is
///   gone. Burn ends the session of a client that asks for something that its server does not
///   have, so the device cannot be used again in this process.
/// - [`KernelsError::Version`] if the server has the kernels of another version of this crate.
///   The device stays as it was.
pub fn use_kernels(device: &Device) -> Result<(), KernelsError> {
    let version = device::ask_remote(device, client::version).ok_or(KernelsError::NotRemote)?;
    match version.map_err(KernelsError::NoAnswer)? {
        VERSION => {
            device::remember_kernels(device);
            Ok(())
        }
        server => Err(KernelsError::Version {
            server,
            client: VERSION,
        }),
    }
}

/// Adds the kernels to a server, for clients that [use](use_kernels) them. Other clients are
/// served as before.
///
/// The devices of the server must be those of Burn's CPU backend, `Device::flex()`. A server
/// with other devices does not start: `serve` returns `ServeError::CustomOpBackend`. Call this
/// function after `RemoteServer::with_custom_ops`, which would replace the handlers of the
/// kernels.
#[cfg(feature = "remote-server")]
#[must_use]
pub fn serve_kernels(server: burn::server::RemoteServer) -> burn::server::RemoteServer {
    crate::statistics::remote::server::with_kernels(server)
}

/// The error of [`use_kernels`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelsError {
    /// The device is not remote.
    NotRemote,
    /// The server did not say which kernels it has. The text is the reason, as Burn gives it.
    NoAnswer(String),
    /// The server has the kernels of another version of this crate.
    Version {
        /// The version of the server's messages.
        server: i64,
        /// The version of this client's messages.
        client: i64,
    },
}

impl fmt::Display for KernelsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRemote => write!(
                f,
                "use_kernels: expected a remote device, got one of this process"
            ),
            Self::NoAnswer(reason) => write!(
                f,
                "use_kernels: expected a server that serves kernels, which did not answer: {reason}"
            ),
            Self::Version { server, client } => write!(
                f,
                "use_kernels: expected a server whose kernels have version {client}, got {server}"
            ),
        }
    }
}

impl Error for KernelsError {}
