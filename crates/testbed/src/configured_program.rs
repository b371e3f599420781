//! A program that is configured by flags and environment variables, run until it ends: which values it refuses, and how.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

const LIMIT: Duration = Duration::from_secs(30);

/// A number that a program is configured with, and the values that it accepts.
#[derive(Debug, Clone, Copy)]
pub struct NumberSetting {
    /// The environment variable.
    pub variable: &'static str,
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// The smallest value.
    pub least: i64,
    /// The largest value.
    pub most: i64,
}

impl NumberSetting {
    /// Accepts `least` to `most`.
    pub const fn new(variable: &'static str, flag: &'static str, least: i64, most: i64) -> Self {
        Self { variable, flag, least, most }
    }
}

/// A program, and the variables without which it does not start.
#[derive(Debug, Clone)]
pub struct ConfiguredProgram {
    /// The binary.
    pub program: PathBuf,
    /// Its whole environment. What a call passes overrides it.
    pub required: Vec<(&'static str, &'static str)>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl ConfiguredProgram {
    /// Runs the program until it ends, with backtraces switched on.
    ///
    /// # Panics
    /// It does not start, or runs for longer than 30 s.
    pub async fn run(&self, envs: &[(&str, &str)], args: &[&str]) -> Ended {
        let mut command = Command::new(&self.program);
        command.env_clear().env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
        command.envs(self.required.iter().copied()).envs(envs.iter().copied());
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(LIMIT, command.output()).await.expect("it ends").expect("it starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// # Panics
    /// Unless the program ends with code 2 and one line that has all the names.
    pub async fn assert_refuses(&self, envs: &[(&str, &str)], names: &[&str]) {
        let Ended { code, stderr, .. } = self.run(envs, &[]).await;
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{names:?}: {stderr}");
        assert!(names.iter().all(|name| stderr.contains(name)), "{names:?}: {stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{names:?}: {stderr}");
    }

    /// # Panics
    /// Unless the values next to each range are refused with the names of the setting, the value and the range.
    pub async fn assert_refuses_outside(&self, numbers: &[NumberSetting]) {
        for &NumberSetting { variable, flag, least, most } in numbers {
            let range = format!("from {least} to {most}");
            let outside = [(least - 1).to_string(), (most + 1).to_string(), "99999999999999999999".to_owned()];
            for value in outside {
                self.assert_refuses(&[(variable, &value)], &[variable, flag, &value, &range]).await;
            }
        }
    }

    /// # Panics
    /// Unless the text of each flag in `--help` contains its range.
    pub async fn assert_help_has_ranges(&self, numbers: &[NumberSetting]) {
        let help = self.run(&[], &["--help"]).await.stdout;
        for NumberSetting { flag, least, most, .. } in numbers {
            let (_, section) = help.split_once(&format!("{flag} <")).expect(flag);
            let (section, _) = section.split_once("[env:").expect(flag);
            let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(section.contains(&format!("from {least} to {most}")), "{flag}: {section}");
        }
    }
}
