//! One ZooKeeper server, durable, with the short tick that short sessions need.
//!
//! Invariant: the server that answers on the port is the one that was started here.
//! Absence: no ensemble, no admin server, and none of the distribution's scripts, which need folders of their own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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

const NAME: &str = "zookeeper";
const IMAGE: Image = Image { variable: "ZOOKEEPER_IMAGE", default: "zookeeper:3.9", port: 2181 };
const HINT: &str = "apt-get install zookeeper default-jre-headless | brew install zookeeper";

static JAVA: BinarySpec = BinarySpec {
    names: &["java"],
    folders: &["/opt/homebrew/opt/openjdk/bin", "/usr/local/opt/openjdk/bin", "/usr/lib/jvm/default-java/bin"],
    hint: HINT,
};

/// Folders with ZooKeeper's jars and their dependencies: Debian, Homebrew (two), ZooKeeper's release archive.
const JAR_FOLDERS: [&str; 4] = [
    "/usr/share/java",
    "/opt/homebrew/opt/zookeeper/libexec/lib",
    "/usr/local/opt/zookeeper/libexec/lib",
    "/opt/zookeeper/lib",
];

const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %p %m%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>"#;

/// A ZooKeeper server. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Zookeeper {
    server: Server,
    /// A line of its configuration, by which another server on the same port is recognised.
    data_dir_line: String,
}

impl Zookeeper {
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
        let (server, data_dir_line) = match mode {
            Mode::Native => {
                let launch = launch_spec(addr)?;
                let data_dir_line = format!("dataDir={}", launch.folder.path().display());
                (Server::native(NAME, addr, StopPolicy::KILL, launch), data_dir_line)
            }
            Mode::Containers => {
                (Server::container(NAME, addr, StopPolicy::KILL, container_spec())?, "dataDir=".to_owned())
            }
        };
        let mut zookeeper = Self { server, data_dir_line };
        zookeeper.restart().await?;
        Ok(zookeeper)
    }

    /// The connect string, `127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.addr().to_string()
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
        let (addr, data_dir_line) = (self.addr(), self.data_dir_line.clone());
        self.server.start(|_| probe(addr, data_dir_line.clone())).await
    }

    /// SIGSTOP, or the engine's pause. Sessions do not run out while it lasts.
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

fn launch_spec(addr: SocketAddr) -> Result<LaunchSpec, TestbedError> {
    let program = JAVA.find()?;
    let folder = Folder::new("zookeeper")?;
    let class_path = class_path(folder.path())?;
    let config = folder.path().join("zoo.cfg");
    let lines = [
        // A session lasts at least two ticks.
        "tickTime=100".to_owned(),
        "maxSessionTimeout=60000".to_owned(),
        "maxClientCnxns=0".to_owned(),
        "admin.enableServer=false".to_owned(),
        "4lw.commands.whitelist=conf".to_owned(),
        "clientPortAddress=127.0.0.1".to_owned(),
        format!("clientPort={}", addr.port()),
        format!("dataDir={}/data", folder.path().display()),
    ];
    fs::write(&config, lines.join("\n")).map_err(TestbedError::file("cannot write", &config))?;
    let mut args: Vec<OsString> = [
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        // Otherwise Java leaves a file in the system's temporary folder.
        "-XX:-UsePerfData",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ]
    .map(OsString::from)
    .into();
    args.push(format!("-Djava.io.tmpdir={}", folder.path().display()).into());
    args.push(format!("-Dzookeeper.log.dir={}", folder.path().display()).into());
    args.extend(["-cp".into(), class_path, "org.apache.zookeeper.server.quorum.QuorumPeerMain".into(), config.into()]);
    Ok(LaunchSpec { program, args, account: None, folder })
}

/// The class path. Its first entry decides how ZooKeeper logs: Debian's folder has several loggers, one of which logs
/// nothing; the release archive has logback, which logs everything unless it is configured.
fn class_path(folder: &Path) -> Result<OsString, TestbedError> {
    let jars = JAR_FOLDERS.iter().map(Path::new).find(|folder| has_zookeeper(folder));
    let jars = jars.ok_or_else(|| TestbedError::NotInstalled {
        program: "zookeeper.jar".to_owned(),
        other_folders: format!(" or in {}", JAR_FOLDERS.join(", ")),
        hint: HINT,
    })?;
    let logback = folder.join("logback.xml");
    fs::write(&logback, LOGBACK).map_err(TestbedError::file("cannot write", &logback))?;
    let parts = [jars.join("slf4j-simple.jar"), folder.to_owned(), jars.join("*")];
    Ok(parts.map(PathBuf::into_os_string).join(OsStr::new(":")))
}

/// Whether the folder has `zookeeper.jar` or `zookeeper-VERSION.jar`.
fn has_zookeeper(folder: &Path) -> bool {
    let names = folder.read_dir().into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.map(PathBuf::from).any(|path| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let version = stem.strip_prefix("zookeeper").map(|rest| rest.trim_start_matches('-'));
        path.extension().is_some_and(|extension| extension == "jar")
            && version
                .is_some_and(|version| version.is_empty() || version.starts_with(|first: char| first.is_ascii_digit()))
    })
}

fn container_spec() -> ContainerSpec {
    let envs = [
        ("ZOO_TICK_TIME", "100"),
        ("ZOO_MAX_CLIENT_CNXNS", "0"),
        ("ZOO_4LW_COMMANDS_WHITELIST", "conf"),
        ("ZOO_CFG_EXTRA", "maxSessionTimeout=60000"),
    ];
    let envs = envs.map(|(key, value)| (key, value.to_owned())).into();
    ContainerSpec { image: IMAGE, args: Vec::new(), envs }
}

/// Succeeds if the server reports the expected configuration, which it does only while it serves. Source: ZooKeeper, "The Four Letter Words".
async fn probe(addr: SocketAddr, data_dir_line: String) -> Result<(), String> {
    let request = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"conf").await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        std::io::Result::Ok(reply)
    };
    let reply = request.await.map_err(|error| error.to_string())?;
    reply
        .contains(&data_dir_line)
        .then_some(())
        .ok_or_else(|| reply.lines().next().unwrap_or("an empty reply").to_owned())
}
