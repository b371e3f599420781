//! The page in a real Chromium: no error, no request, nothing wider than a phone.
//!
//! A frame beside it asks the page what it fetched and how wide it is. Chromium's own errands (updates, time) are not
//! the page's, and are kept on this machine. ProtocolMutation a Chromium these tests fail: `.ci/needs chromium`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::text;
use crate::report::sample;

/// What a browser has to say about a page.
#[derive(Debug)]
struct Seen {
    page: Measured,
    /// What it wrote to its console.
    console: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Measured {
    /// Addresses that were asked for, whether or not they answered.
    resources: Vec<String>,
    /// How wide the page is, and how wide its window.
    scroll: u32,
    inner: u32,
    text: String,
    /// Letters of charts that are drawn smaller than can be read.
    tiny: u32,
    /// Letters of charts that stick out of them, and are cut there.
    cut: Vec<String>,
}

const FRAME: &str = r#"<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe id="page" src="index.html" style="border: 0; height: 900px; width: WIDTHpx"></iframe><pre id="seen"></pre>
<script>
document.getElementById("page").onload = (loaded) => {
  const view = loaded.target.contentWindow, page = loaded.target.contentDocument;
  const letters = [...page.querySelectorAll("svg text")].filter((text) => text.textContent.trim() !== "");
  document.getElementById("seen").textContent = JSON.stringify({
    resources: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    scroll: page.documentElement.scrollWidth, inner: view.innerWidth, text: page.body.innerText,
    tiny: letters.filter((text) => text.getBoundingClientRect().height < 8).length,
    cut: letters.filter((text) => {
      const [letters, chart] = [text, text.ownerSVGElement].map((drawn) => drawn.getBoundingClientRect());
      return letters.right > chart.right + 1 || letters.left < chart.left - 1;
    }).map((text) => text.textContent),
  });
};
</script>"#;

fn chromium() -> PathBuf {
    let on_path = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|folder| on_path.map(|name| folder.join(name)));
    let applications = [
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ];
    let mut found = found.chain(applications.map(PathBuf::from)).filter(|program| program.is_file());
    found.next().expect("a Chromium on PATH: .ci/needs chromium installs it")
}

/// Opens `index.html` of the folder in a window of this width.
fn open(folder: &Path, width: u32) -> Seen {
    std::fs::write(folder.join("frame.html"), FRAME.replace("WIDTH", &width.to_string())).expect("a file");
    let output = Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--window-size={},1000", width + 100))
        .arg("--dump-dom")
        .arg(format!("file://{}", folder.join("frame.html").display()))
        .stdin(Stdio::null())
        .output()
        .expect("Chromium runs");
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let seen = dom.split(r#"<pre id="seen">"#).nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let page = serde_json::from_str(&seen).unwrap_or_else(|error| panic!("{error}: {seen:?}\n{log}"));
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    Seen { page, console }
}

#[test]
fn the_report_opens_without_an_error_or_a_request_and_fits_a_phone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("index.html"), text(&sample::report()).expect("a page")).expect("a file");
    for width in [360, 800, 1400] {
        let seen = open(folder.path(), width);
        assert!(seen.page.text.contains("PASSED: whoever promised not to oversell kept the promise"), "{seen:?}");
        assert_eq!(seen.page.resources, Vec::<String>::new(), "at {width}");
        assert_eq!(seen.console, Vec::<String>::new(), "at {width}");
        assert!(seen.page.scroll <= seen.page.inner, "{} in a window of {}", seen.page.scroll, seen.page.inner);
        assert_eq!(seen.page.tiny, 0, "letters at {width}");
        assert_eq!(seen.page.cut, Vec::<String>::new(), "at {width}");
    }
}

#[test]
fn a_page_that_fetches_or_fails_or_is_too_wide_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = r#"<!doctype html><img src="http://example.invalid/x.png"><p style="width: 900px">wide</p>
        <svg viewBox="0 0 1000 10" width="300"><text y="9" font-size="9">tiny</text><text x="999" y="9" font-size="9">cut</text></svg><script>console.error("oh")</script>"#;
    std::fs::write(folder.path().join("index.html"), bad).expect("a file");
    let seen = open(folder.path(), 360);
    assert_eq!(seen.page.resources, ["http://example.invalid/x.png"]);
    assert!(seen.page.scroll > seen.page.inner, "{seen:?}");
    assert!(seen.console.iter().any(|line| line.contains("oh")), "{:?}", seen.console);
    assert_eq!((seen.page.tiny, seen.page.cut), (2, vec!["cut".to_owned()]));
}
