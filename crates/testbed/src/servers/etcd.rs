//! One etcd server, durable, with the short election time-out that short leases need.
//!
//! Invariant: the server that answers on the port is the member that was started here.
//! Absence: no cluster. How etcd survives the loss of a minority is not tested in this project.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::containers::container::ContainerSpec;
use crate::containers::image::Image;
use crate::error::TestbedError;
use crate::folder::Folder;
use crate::mode::Mode;
use crate::processes::binary::BinarySpec;
use crate::processes::stop_policy::StopPolicy;
use crate::servers::instance::LaunchSpec;
use crate::servers::server::{Server, with_free_port};

const NAME: &str = "etcd";
const IMAGE: Image = Image { variable: "ETCD_IMAGE", default: "quay.io/coreos/etcd:v3.5.21", port: 2379 };

static ETCD: BinarySpec = BinarySpec {
    names: &["etcd"],
    folders: &["/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/opt/etcd/bin", "/usr/local/opt/etcd/bin"],
    hint: "apt-get install etcd-server | brew install etcd",
};

/// An etcd server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    /// The member's name, by which another server on the same port is recognised.
    member: String,
}

impl Etcd {
    /// Starts a server on a free port, in the mode of `HOLDFAST_TESTBED`, and waits until it serves.
    pub async fn start() -> Result<Self, TestbedError> {
        Self::start_in(Self::mode().await?).await
    }

    /// Starts a server as a child process or in a container.
    pub async fn start_in(mode: Mode) -> Result<Self, TestbedError> {
        with_free_port(NAME, |addr| Self::start_at(addr, mode)).await
    }

    /// The mode in which [`start`](Self::start) starts the server.
    pub async fn mode() -> Result<Mode, TestbedError> {
        Mode::choose(IMAGE).await
    }

    pub(crate) async fn start_at(addr: SocketAddr, mode: Mode) -> Result<Self, TestbedError> {
        let member = format!("holdfast-{:016x}", rand::random::<u64>());
        let server = match mode {
            Mode::Native => Server::native(NAME, addr, StopPolicy::KILL, launch_spec(addr, &member)?),
            Mode::Containers => Server::container(NAME, addr, StopPolicy::KILL, container_spec(&member))?,
        };
        let mut etcd = Self { server, member };
        etcd.restart().await?;
        Ok(etcd)
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The address, the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The process id, while the server runs as a child process.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Sends SIGKILL and returns when the server has ended.
    pub async fn kill(&mut self) {
        self.server.stop(StopPolicy::KILL).await;
    }

    /// Starts the server again on the same port with its data, killing it first if it runs, and waits until it serves.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        let (addr, member) = (self.addr(), self.member.clone());
        self.server.start(|_| probe(addr, member.clone())).await
    }

    /// SIGSTOP, or the engine's pause. Leases do not run while it lasts.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// The last `lines` lines of the server's log.
    pub fn log_tail(&self, lines: usize) -> String {
        self.server.log_tail(lines)
    }
}

/// A 1 s lease becomes 2 s with the default election time-out of 1 s. Source: etcd, `lease.minLeaseTTL`.
fn settings(member: &str, client: &str) -> Vec<String> {
    [
        ["--name", member],
        ["--listen-client-urls", client],
        ["--advertise-client-urls", client],
        // A single member has no peers; port 0 is any free port.
        ["--listen-peer-urls", "http://127.0.0.1:0"],
        ["--initial-advertise-peer-urls", "http://127.0.0.1:2380"],
        ["--initial-cluster", &format!("{member}=http://127.0.0.1:2380")],
        ["--heartbeat-interval", "20"],
        ["--election-timeout", "200"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

fn launch_spec(addr: SocketAddr, member: &str) -> Result<LaunchSpec, TestbedError> {
    let folder = Folder::new("etcd")?;
    let mut args = settings(member, &format!("http://{addr}"));
    args.extend(["--data-dir".to_owned(), folder.path().join("data").display().to_string()]);
    Ok(LaunchSpec { program: ETCD.find()?, args: args.into_iter().map(Into::into).collect(), account: None, folder })
}

fn container_spec(member: &str) -> ContainerSpec {
    let mut args = vec!["/usr/local/bin/etcd".to_owned()];
    args.extend(settings(member, "http://0.0.0.0:2379"));
    args.extend(["--data-dir".to_owned(), "/var/tmp/etcd".to_owned()]);
    ContainerSpec { image: IMAGE, args, envs: Vec::new() }
}

/// Succeeds if the list of members, which needs a leader, contains `member`. Source: etcd, "gRPC gateway".
async fn probe(addr: SocketAddr, member: String) -> Result<(), String> {
    let request = async {
        let mut stream = TcpStream::connect(addr).await?;
        let head =
            "POST /v3/cluster/member/list HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(head.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    let reply = request.await.map_err(|error| error.to_string())?;
    reply.contains(&member).then_some(()).ok_or_else(|| reply.lines().next().unwrap_or("an empty reply").to_owned())
}
