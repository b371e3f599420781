//! The page in a real Chromium: no error, no request, nothing wider than a phone.
//!
//! A frame around the page reads what the page fetched and how wide it is. Chromium's own requests (updates, time) are
//! not the page's, and cannot leave this machine. These tests fail without a Chromium: `.ci/needs chromium`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::text;
use crate::report::sample;

/// What a browser reports about a page.
#[derive(Debug)]
struct BrowserReport {
    page: PageReport,
    /// Lines of its console.
    console: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct PageReport {
    /// Addresses that the page requested, whether or not they answered.
    resources: Vec<String>,
    /// Width of the page and of its window, in pixels.
    scroll: u32,
    inner: u32,
    text: String,
    /// How many texts of charts are too small to read.
    tiny: u32,
    /// Texts of charts that are cut at the edge of the chart.
    cut: Vec<String>,
}

const FRAME: &str = r#"<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<iframe id="page" src="index.html" style="border: 0; height: 900px; width: WIDTHpx"></iframe><pre id="report"></pre>
<script>
document.getElementById("page").onload = (loaded) => {
  const view = loaded.target.contentWindow, page = loaded.target.contentDocument;
  const texts = [...page.querySelectorAll("svg text")].filter((text) => text.textContent.trim() !== "");
  document.getElementById("report").textContent = JSON.stringify({
    resources: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    scroll: page.documentElement.scrollWidth, inner: view.innerWidth, text: page.body.innerText,
    tiny: texts.filter((text) => text.getBoundingClientRect().height < 8).length,
    cut: texts.filter((text) => {
      const [box, chart] = [text, text.ownerSVGElement].map((drawn) => drawn.getBoundingClientRect());
      return box.right > chart.right + 1 || box.left < chart.left - 1;
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

/// Opens `index.html` of the folder in a window of this width, in pixels.
fn open(folder: &Path, width: u32) -> BrowserReport {
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
    let report =
        dom.split(r#"<pre id="report">"#).nth(1).and_then(|rest| rest.split("</pre>").next()).unwrap_or_default();
    let report = report.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let page = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report:?}\n{log}"));
    let console = log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    BrowserReport { page, console }
}

#[test]
fn the_report_opens_without_an_error_or_a_request_and_fits_a_phone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("index.html"), text(&sample::report()).expect("a page").0).expect("a file");
    for width in [360, 800, 1400] {
        let report = open(folder.path(), width);
        assert!(report.page.text.contains("PASSED: no strategy oversold where it promises not to"), "{report:?}");
        assert_eq!(report.page.resources, Vec::<String>::new(), "at {width}");
        assert_eq!(report.console, Vec::<String>::new(), "at {width}");
        assert!(report.page.scroll <= report.page.inner, "{} in a window of {}", report.page.scroll, report.page.inner);
        assert_eq!(report.page.tiny, 0, "small texts at {width}");
        assert_eq!(report.page.cut, Vec::<String>::new(), "at {width}");
    }
}

#[test]
fn a_page_that_fetches_or_fails_or_is_too_wide_is_detected() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = r#"<!doctype html><img src="http://example.invalid/x.png"><p style="width: 900px">wide</p>
        <svg viewBox="0 0 1000 10" width="300"><text y="9" font-size="9">tiny</text><text x="999" y="9" font-size="9">cut</text></svg><script>console.error("oh")</script>"#;
    std::fs::write(folder.path().join("index.html"), bad).expect("a file");
    let report = open(folder.path(), 360);
    assert_eq!(report.page.resources, ["http://example.invalid/x.png"]);
    assert!(report.page.scroll > report.page.inner, "{report:?}");
    assert!(report.console.iter().any(|line| line.contains("oh")), "{:?}", report.console);
    assert_eq!((report.page.tiny, report.page.cut), (2, vec!["cut".to_owned()]));
}
