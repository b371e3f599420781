//! The watchdog: a process that cleans up when this process ends without doing so.
//!
//! Every server is a *direct child* of this process: `waitid` reports the stopped state to the parent only, and the
//! process id of a direct child stays reserved until it is reaped. A child does not reliably end with its
//! parent, so one small `sh`, the watchdog, runs beside the children. It reads its list of children and containers from
//! a pipe whose other end only this process holds. However this process ends, the kernel closes that end; the watchdog
//! reads end-of-file and only then acts: it ends every child still on its list, removes the containers, and then the
//! folder with all temporary data.
//!
//! * *No gap at the start.* A child begins as `sh`, waiting for one line, and becomes the server by `exec` (same
//!   process id) after it was put on the watchdog's list. If this process ends in between, that `sh` reads end-of-file
//!   and ends.
//! * *No other process is killed.* A process id can be reused once its child is reaped, so `forget` is written
//!   *before* reaping. The pipe keeps the order and the watchdog acts only at its end: no acknowledgement is needed.
//! * *Ctrl-C in a terminal* goes to the foreground process group. Watchdog and children have groups of their
//!   own: the servers run on until the program has finished with them.
//!
//! The scripts are plain POSIX: dash, busybox and the bash 3.2 of macOS run them.
//! Absence: nothing is cleaned up here while this process is alive; that is the task of `Drop`.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::error::TestbedError;

/// Lines: `watch PID SIGNAL`, `forget PID`, `container NAME`, `uncontainer NAME`. `$1` is the folder.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT TERM PIPE
PATH=$PATH:/usr/local/bin:/usr/bin:/bin
mkdir -m 711 "$1" || exit 1
echo ready
exec >/dev/null
without() { kept=; for item in $1; do [ "${item%%:*}" = "$2" ] || kept="$kept $item"; done; }
watched=; containers=
while read -r verb name signal; do
  case $verb in
    watch) watched="$watched $name:$signal" ;;
    forget) without "$watched" "$name"; watched=$kept ;;
    container) containers="$containers $name" ;;
    uncontainer) without "$containers" "$name"; containers=$kept ;;
  esac
done
alive() { for item in $watched; do kill -0 "${item%%:*}" 2>/dev/null && return 0; done; return 1; }
for item in $watched; do
  kill -s "${item#*:}" -- "${item%%:*}"
  kill -s CONT -- "-${item%%:*}"
done 2>/dev/null
tries=0
while alive && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
for item in $watched; do kill -s KILL -- "-${item%%:*}"; done 2>/dev/null
[ -z "$containers" ] || docker rm -f -v $containers
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
# The engine may still be creating a container: remove once more when it has finished.
[ -z "$containers" ] || { sleep 2; docker rm -f -v $containers; }
"#;

/// Becomes the program when the line arrives, and ends at end-of-file.
const SHIM: &str = r#"read -r go && exec "$@" </dev/null"#;

/// The writing end of the pipe, and the folder that the watchdog removes.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pipe: Mutex<ChildStdin>,
    root: PathBuf,
}

static WATCHDOG_OF_THIS_PROCESS: Mutex<Option<&'static Watchdog>> = Mutex::new(None);

impl Watchdog {
    /// The watchdog of this process, started by the first call. It runs as long as the process.
    pub(crate) fn get() -> Result<&'static Self, TestbedError> {
        let mut slot = WATCHDOG_OF_THIS_PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watchdog) = *slot {
            return Ok(watchdog);
        }
        let watchdog =
            Self::start().map_err(|source| TestbedError::Spawn { name: "the watchdog `sh`".to_owned(), source })?;
        Ok(*slot.insert(Box::leak(Box::new(watchdog))))
    }

    fn start() -> io::Result<Self> {
        let name = format!("holdfast-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let root = std::env::temp_dir().join(name);
        let mut child = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "holdfast-watchdog"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        let (Some(pipe), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipe to the watchdog"));
        };
        let mut answer = String::new();
        BufReader::new(answers).read_line(&mut answer)?;
        if answer.trim() != "ready" {
            return Err(io::Error::other(format!("the watchdog could not create {}", root.display())));
        }
        Ok(Self { pipe: Mutex::new(pipe), root })
    }

    /// The folder with all temporary data of this process.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A name that is unique to this process, for containers.
    pub(crate) fn name(&self) -> String {
        self.root.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Starts `program` as a direct child in a process group of its own, on the watchdog's list before it runs.
    ///
    /// The watchdog would end it by `signal` (`KILL`, `QUIT`, …), and by SIGKILL after 5 s.
    pub(crate) fn spawn(&self, program: &Path, signal: &str, fill: impl FnOnce(&mut Command)) -> io::Result<Child> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SHIM, "holdfast-shim"]).arg(program);
        fill(&mut command);
        command.stdin(Stdio::piped()).process_group(0);
        // One start at a time: where a pipe cannot be created close-on-exec (macOS), a child forked in between
        // would inherit this end of another child's pipe and keep it open.
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = command.spawn()?;
        let listed = writeln!(pipe, "watch {} {signal}", child.id());
        let go = match (listed, child.stdin.take()) {
            (Ok(()), Some(mut shim)) => shim.write_all(b"go\n"),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(io::Error::other("no pipe to the child")),
        };
        if let Err(error) = go {
            // The shim read end-of-file or is about to: it ends by itself.
            let _ = writeln!(pipe, "forget {}", child.id());
            let _ = child.wait();
            return Err(error);
        }
        Ok(child)
    }

    /// Removes a child from the list. Must be called before the child is reaped.
    pub(crate) fn forget(&self, pid: u32) {
        self.send(&format!("forget {pid}"));
    }

    /// Puts a container on the list. Must be called before the container is created.
    pub(crate) fn watch_container(&self, name: &str) {
        self.send(&format!("container {name}"));
    }

    /// Removes a container from the list. Must be called after the container is removed.
    pub(crate) fn forget_container(&self, name: &str) {
        self.send(&format!("uncontainer {name}"));
    }

    fn send(&self, line: &str) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(pipe, "{line}") {
            tracing::warn!(%error, "watchdog process ended: if this process crashes, its servers are left running");
        }
    }
}
