//! One ZooKeeper server, durable, with the short tick that short sessions need.
//!
//! Invariant: what answers on the port is the server that was started here.
//! Absence: no ensemble, no admin server, no scripts of the distribution: those want folders of their own.

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

/// Folders with ZooKeeper's jars and those it needs: Debian, Homebrew, the project's own archive.
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
    /// A line of its configuration that tells it from a stranger on the same port.
    data_dir_line: String,
}

impl Zookeeper {
    /// Starts a server on a free port, where `HOLDFAST_TESTBED` says, and waits until it serves.
    pub async fn start() -> Result<Self, TestbedError> {
        Self::start_in(Self::mode().await?).await
    }

    /// Starts a server as a child process or in a container.
    pub async fn start_in(mode: Mode) -> Result<Self, TestbedError> {
        with_free_port(NAME, |addr| Self::start_at(addr, mode)).await
    }

    /// Where [`start`](Self::start) starts it.
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

    /// Where it listens; the same for life, restarts included.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Its process id, while it runs as a child process.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// SIGKILL; returns when it is gone.
    pub async fn kill(&mut self) {
        self.server.stop(StopPolicy::KILL).await;
    }

    /// Starts it again on the same port with its data (killing it first if it still runs), and waits until it serves.
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

    /// The last `lines` lines of its log.
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
        // Java leaves a file in the system's temporary folder otherwise.
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

/// The class path. What comes first decides how it logs: Debian's folder holds several loggers, one of which says nothing;
/// the project's own archive has logback, which says everything unless it is configured.
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

/// `zookeeper.jar`, or with its version.
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

/// Its configuration, which it tells only while it serves. Source: ZooKeeper, "The Four Letter Words".
async fn probe(addr: SocketAddr, data_dir_line: String) -> Result<(), String> {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(b"conf").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = ask.await.map_err(|error| error.to_string())?;
    answer
        .contains(&data_dir_line)
        .then_some(())
        .ok_or_else(|| answer.lines().next().unwrap_or("an empty answer").to_owned())
}
