//! No process, port, folder or container is left, however the process that started them ended.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use testbed::{Folder, Mode, RedisNode};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{Instant, sleep};

use crate::each_mode::offered;

/// Servers of a dead parent are not this process's children, so their end is polled for.
const LIMIT: Duration = Duration::from_secs(30);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let over = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < over, "not within {LIMIT:?}: {what}");
        sleep(CHECK_INTERVAL).await;
    }
}

fn pid_of(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id")
}

/// The process has ended; a zombie counts as ended.
fn gone(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().expect("ps runs");
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    state.is_empty() || state.starts_with('Z')
}

pub(crate) async fn until_gone(pid: u32) {
    eventually(&format!("process {pid} is gone"), || gone(pid)).await;
}

fn native_is_offered(test: &str) -> bool {
    offered(Mode::Native, Ok(Mode::Native), test)
}

fn is_free(addr: SocketAddr) -> bool {
    TcpListener::bind(addr).is_ok()
}

#[tokio::test]
async fn nothing_is_left_after_a_drop() {
    if !native_is_offered("nothing_is_left_after_a_drop") {
        return;
    }
    let node = RedisNode::start_in(Mode::Native).await.expect("a node");
    let folder = Folder::new("dropped").expect("a folder");
    let (pid, addr, path) = (node.pid().expect("a child process"), node.addr(), folder.path().to_owned());
    let group = getpgid(Some(pid_of(pid))).expect("it runs");
    assert_eq!(group, pid_of(pid), "a group of its own, which a terminal's Ctrl-C does not reach");
    node.pause();
    drop((node, folder));
    assert!(gone(pid));
    assert!(is_free(addr));
    assert!(!path.exists());
}

#[tokio::test]
async fn nothing_is_left_after_a_panic() {
    if !native_is_offered("nothing_is_left_after_a_panic") {
        return;
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let node = RedisNode::start_in(Mode::Native).await.expect("a node");
        let folder = Folder::new("panicked").expect("a folder");
        sender
            .send((node.pid().expect("a child process"), node.addr(), folder.path().to_owned()))
            .expect("the test receives it");
        panic!("on purpose");
    });
    let (pid, addr, path) = receiver.await.expect("the servers started");
    assert!(task.await.expect_err("it panicked").is_panic());
    assert!(gone(pid));
    assert!(is_free(addr));
    assert!(!path.exists());
}

#[tokio::test]
async fn nothing_is_left_after_an_interrupt_from_the_terminal() {
    no_child_is_left_after(Signal::INT, &["redis", "postgres"]).await;
}

#[tokio::test]
async fn nothing_is_left_after_sigterm() {
    no_child_is_left_after(Signal::TERM, &["redis", "postgres"]).await;
}

#[tokio::test]
async fn nothing_is_left_after_the_terminal_hung_up() {
    no_child_is_left_after(Signal::HUP, &["redis"]).await;
}

#[tokio::test]
async fn nothing_is_left_after_sigkill() {
    no_child_is_left_after(Signal::KILL, &["redis", "redis", "postgres", "etcd", "zookeeper"]).await;
}

#[tokio::test]
async fn nothing_is_left_after_an_abort() {
    no_child_is_left_after(Signal::ABORT, &["redis"]).await;
}

#[tokio::test]
async fn no_container_is_left_after_sigkill() {
    let test = "no_container_is_left_after_sigkill";
    if offered(Mode::Containers, RedisNode::mode().await, test) {
        nothing_is_left_after(Signal::KILL, "containers", &["redis"]).await;
    }
}

/// A `servers` process and its servers, as it printed them.
struct Parent {
    process: tokio::process::Child,
    pids: Vec<u32>,
    addrs: Vec<SocketAddr>,
    root: PathBuf,
}

impl Parent {
    async fn start(mode: &str, servers: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_servers"));
        command.args(servers).env("HOLDFAST_TESTBED", mode).process_group(0);
        let mut command = tokio::process::Command::from(command);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a parent");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (mut pids, mut addrs, mut root) = (Vec::new(), Vec::new(), PathBuf::new());
        while let Some(line) = lines.next_line().await.expect("its output") {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["ready"] => {
                    return Self { process, pids, addrs, root };
                }
                ["folder", path] => root = root_of(path),
                [_, url, pid] => {
                    pids.extend(pid.parse::<u32>());
                    addrs.push(addr_of(url));
                }
                _ => panic!("an unexpected line: {line}"),
            }
        }
        panic!("the parent ended before its servers were ready");
    }

    fn id(&self) -> u32 {
        self.process.id().expect("it runs")
    }
}

/// The folder with all temporary data of that parent.
fn root_of(folder: &str) -> PathBuf {
    Path::new(folder).parent().expect("a parent folder").to_owned()
}

fn addr_of(url: &str) -> SocketAddr {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split('/').next().and_then(|addr| addr.parse().ok()).expect("an address")
}

fn containers_of(name: &str) -> String {
    let output = Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &format!("name={name}")]).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn no_child_is_left_after(signal: Signal, servers: &[&str]) {
    if native_is_offered(&format!("nothing is left after {signal:?}")) {
        nothing_is_left_after(signal, "native", servers).await;
    }
}

async fn nothing_is_left_after(signal: Signal, mode: &str, servers: &[&str]) {
    let mut parent = Parent::start(mode, servers).await;
    let name = parent.root.file_name().expect("a name").to_string_lossy().into_owned();
    let native = mode == "native";
    assert_eq!(parent.pids.len(), if native { servers.len() } else { 0 });
    assert!(parent.pids.iter().all(|pid| !gone(*pid)), "they ran");
    assert!(parent.addrs.iter().all(|addr| !is_free(*addr)), "they listened");
    assert!(parent.root.is_dir(), "there was a folder");
    assert_eq!(containers_of(&name).is_empty(), native, "there was a container where there should be");

    // A stopped server must be continued before it can end in order.
    for pid in &parent.pids {
        kill_process(pid_of(*pid), Signal::STOP).expect("it runs");
    }

    // The whole group, as a terminal signals it.
    let group = i32::try_from(parent.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process_group(group, signal).expect("the parent runs");
    assert!(!parent.process.wait().await.expect("a status").success(), "the signal ended it");

    for pid in &parent.pids {
        until_gone(*pid).await;
    }
    for addr in &parent.addrs {
        eventually(&format!("{addr} is free"), || is_free(*addr)).await;
    }
    eventually(&format!("{} is gone", parent.root.display()), || !parent.root.exists()).await;
    eventually("no container is left", || containers_of(&name).is_empty()).await;
}
