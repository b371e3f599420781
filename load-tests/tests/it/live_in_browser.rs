//! The live page in a real headless Chromium, over a real stack: every button, the steps of an order, the paused holder, a
//! reload and a broken connection in the middle of a sale.
//!
//! Chromium and its driver must be on PATH: `.ci/needs chromium chromedriver` installs them.

use std::io::{BufRead as _, BufReader};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use testbed::Proxy;
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use tokio::time::{Instant, sleep, timeout};

use crate::live::{Page, on_a_page};

/// Longer than anything here takes, on any machine.
const TIME_LIMIT: Duration = Duration::from_mins(1);
/// The protocol of the driver has no event to wait for.
const POLL: Duration = Duration::from_millis(50);

struct Browser {
    driver: WebDriver,
}

/// The driver's process; it ends with this value.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Driver {
    /// The driver chooses a port and prints it.
    fn start() -> (Self, String) {
        let mut chromedriver = Command::new("chromedriver");
        let started = chromedriver.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = Self(started.expect("chromedriver on PATH: .ci/needs chromedriver installs it"));
        let lines = BufReader::new(driver.0.stdout.take().expect("its output")).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        (driver, format!("http://127.0.0.1:{}", port.expect("a port")))
    }
}

/// Opens the page in a browser of its own, and ends the browser whatever the test does.
async fn in_a_browser(url: &str, test: impl AsyncFnOnce(&Browser)) {
    let (_ends, driver) = tokio::task::spawn_blocking(Driver::start).await.expect("a driver");
    let profile = tempfile::tempdir().expect("a folder");
    let mut capabilities = DesiredCapabilities::chrome();
    let profile_arg = format!("--user-data-dir={}", profile.path().display());
    let args =
        ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1600"];
    for arg in args.into_iter().chain([profile_arg.as_str()]) {
        capabilities.add_arg(arg).expect("an argument");
    }
    capabilities.set_logging_prefs("browser", LoggingPrefsLogLevel::All).expect("a level");
    let driver = WebDriver::new(driver, capabilities).await.expect("a browser");
    let browser = Browser { driver };
    browser.driver.goto(url).await.expect("the page");
    let tested = AssertUnwindSafe(test(&browser)).catch_unwind().await;
    browser.driver.quit().await.expect("the browser ends");
    if let Err(panic) = tested {
        resume_unwind(panic);
    }
}

impl Browser {
    /// The value of an expression of JavaScript, as text.
    async fn value(&self, expression: &str) -> String {
        let value = self.driver.execute(format!("return String({expression})"), Vec::new()).await;
        value.expect(expression).convert().expect("text")
    }

    /// Waits until the expression is true.
    async fn until(&self, expression: &str) {
        let end = Instant::now() + TIME_LIMIT;
        while self.value(&format!("Boolean({expression})")).await != "true" {
            if Instant::now() > end {
                let page = self.value("document.body.innerText").await;
                panic!("never: {expression}\n{page}");
            }
            sleep(POLL).await;
        }
    }

    /// Clicks the element once it can be clicked.
    async fn click(&self, selector: &str) {
        self.until(&format!("document.querySelector('{selector}')?.disabled === false")).await;
        let element = self.driver.find(By::Css(selector)).await.expect(selector);
        element.click().await.expect(selector);
    }

    /// Types a key, as somebody who uses no mouse does.
    async fn press(&self, key: &str) {
        self.driver.find(By::Tag("body")).await.expect("a body").send_keys(key).await.expect(key);
    }

    async fn choose(&self, select: &str, strategy: &str) {
        let option = format!("{select} option[value={strategy}]");
        self.driver.find(By::Css(option)).await.expect(strategy).click().await.expect(strategy);
    }

    /// The script errors and failed requests of the page since the last call.
    async fn console_errors(&self) -> Vec<String> {
        let entries = self.driver.get_log("browser").await.expect("a log");
        entries.into_iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message).collect()
    }
}

fn shelf(number: usize, value: &str) -> String {
    format!("document.querySelectorAll('.shelf')[{number}].querySelector('[data-number={value}]').textContent")
}

/// What was seen, as text.
const EVENTS: &str = "document.getElementById('events').innerText";

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_in_the_browser_oversells_without_a_lock_and_not_with_the_fence_and_every_button_works() {
    on_a_page(async |page| {
        in_a_browser(&page.url, async |browser| {
            browser.until("document.getElementById('sell').disabled === false").await;
            browser.press("s").await;
            browser.until(&format!("{EVENTS}.includes('The sale ended')")).await;
            browser.until(&format!("Number({}) > 0", shelf(0, "oversold"))).await;
            browser.until(&format!("{} === '100'", shelf(1, "sold"))).await;
            assert_eq!(browser.value(&shelf(1, "oversold")).await, "0");
            assert_eq!(browser.value("document.getElementById('verdict').className").await, "banner over");

            browser.press("a").await;
            browser.until("document.querySelector('#statement .broken')").await;

            // The same strategy on both sides: whichever write meets the pause is fenced.
            browser.choose("#strategy-0", "redlock-fenced").await;
            browser.click("#sell").await;
            browser.until(&format!("Number({}) > 0", shelf(0, "sold"))).await;
            browser.click("#pause").await;
            browser.until("document.getElementById('replicas').innerText.includes('stopped')").await;
            browser.click("#continue").await;
            browser.until(&format!("{EVENTS}.includes('The write goes on after')")).await;
            browser.until(&format!("{EVENTS}.match(/The sale ended/g)?.length === 2")).await;
            assert_eq!(browser.value(&shelf(0, "oversold")).await, "0");

            browser.click("#break-node").await;
            browser.until("document.getElementById('nodes').innerText.includes('redis-3 down')").await;
            browser.click("#heal-nodes").await;
            browser.until("!document.getElementById('nodes').innerText.includes('down')").await;
            browser.press("k").await;
            browser.until("document.getElementById('nodes').innerText.includes('redis-3 down')").await;
            browser.click("#reset").await;
            browser.until("!document.getElementById('nodes').innerText.includes('down')").await;
            assert_eq!(browser.value("document.getElementById('statement').hidden").await, "true");
            browser.click("#larger").await;
            assert_eq!(browser.value("document.documentElement.style.fontSize").await, "125%");
            browser.click("#full-screen").await;
            browser.until("document.fullscreenElement").await;
            assert_eq!(browser.console_errors().await, [""; 0]);
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_stepped_through_in_the_browser_and_a_held_write_is_accepted_or_refused() {
    on_a_page(async |page| {
        in_a_browser(&page.url, async |browser| {
            browser.press("2").await;
            browser.until("!document.getElementById('view-order').hidden").await;
            browser.until("!document.querySelector('#view-order .trace').disabled").await;
            browser.press("o").await;
            let step = "document.getElementById('view-order').dataset.step";
            browser.until(&format!("{step} === '1'")).await;
            let last: usize =
                browser.value("document.getElementById('view-order').dataset.steps").await.parse().expect("a number");
            let mut titles = vec![browser.value("document.querySelector('#view-order h2').textContent").await];
            for number in 2..=last {
                browser.press("n").await;
                browser.until(&format!("{step} === '{number}'")).await;
                titles.push(browser.value("document.querySelector('#view-order h2').textContent").await);
            }
            let titles = titles.join(" | ");
            let mut rest = titles.as_str();
            for part in [
                "order 1 unit",
                "lock: token 1",
                "claim token 1",
                "fence 0 → 1",
                "decide: 1 − 1 = 0",
                "write with token 1",
            ] {
                let (_, after) =
                    rest.split_once(part).unwrap_or_else(|| panic!("{part} is missing or early: {titles}"));
                rest = after;
            }
            assert!(
                rest.contains("available 1 → 0") && rest.contains("release") && rest.contains("201 Created"),
                "{titles}"
            );
            browser.press("b").await;
            browser.until(&format!("{step} === '{}'", last - 1)).await;
            browser.press("y").await;
            browser.until(&format!("{step} === '1'")).await;
            browser.until(&format!("{step} === '3'")).await;
            browser.press("e").await;
            browser.until(&format!("{step} === '{last}'")).await;

            browser.press("3").await;
            let banner = "document.querySelector('#view-holder .banner')?.textContent";
            browser.choose("#view-holder select", "redlock").await;
            browser.click("#view-holder .trace").await;
            browser
                .until(&format!("{banner} === 'redlock: 1 unit in stock, 2 sold: the late write was accepted.'"))
                .await;
            browser.choose("#view-holder select", "redlock-fenced").await;
            browser.click("#view-holder .trace").await;
            let refused = "redlock-fenced: 1 unit in stock, 1 sold. The late write carried token 1 and was refused.";
            browser.until(&format!("{banner} === '{refused}'")).await;
            let steps = "document.querySelector('#view-holder .diagram').textContent";
            for part in ["HELD before the write", "the write goes on", "refused: the token is stale"] {
                browser.until(&format!("{steps}.includes('{part}')")).await;
            }
            browser.press("y").await;
            browser.until("document.getElementById('view-holder').dataset.step === '2'").await;
            assert_eq!(browser.console_errors().await, [""; 0]);
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_nodes_are_broken_one_by_one_in_the_browser_and_a_report_is_shown() {
    on_a_page(async |page| {
        in_a_browser(&page.url, async |browser| {
            browser.press("4").await;
            let state = |node: usize| format!("document.querySelectorAll('.node .state')[{}]?.textContent", node - 1);
            let verdict = "document.getElementById('quorum-verdict').textContent";
            let answer = "document.getElementById('quorum-answer').textContent";
            browser.until(&format!("{} === 'answers'", state(3))).await;
            for (fault, shown) in
                [("slow", "slow"), ("pause", "paused"), ("cut", "cut off"), ("kill", "down"), ("heal", "answers")]
            {
                browser.click(&format!(".node:nth-child(3) [data-fault={fault}]")).await;
                browser.until(&format!("{} === '{shown}'", state(3))).await;
            }
            browser.click("[data-fault=wipe]").await;
            browser.click("#try").await;
            browser.until(&format!("{answer} === 'redlock-fenced: 1 unit of 1 sold.'")).await;
            browser.until("document.querySelector('.node .reply').textContent !== 'not asked yet'").await;

            browser.click(".node:nth-child(3) [data-fault=kill]").await;
            browser.click(".node:nth-child(2) [data-fault=cut]").await;
            browser.until(&format!("{verdict}.startsWith('1 of 3 nodes answer in time')")).await;
            browser.click("#try").await;
            browser.until(&format!("{answer}.includes('lock_quorum_unavailable')")).await;
            browser.click("#heal").await;
            browser.until(&format!("{verdict}.startsWith('3 of 3 nodes answer in time')")).await;

            browser.press("5").await;
            let report = "document.getElementById('report-verdict').textContent";
            browser.until(&format!("{report}.startsWith('No report yet')")).await;
            assert_eq!(browser.console_errors().await, [""; 0]);
            let verdict = serde_json::json!({
                "valid": true, "void_reasons": [], "broken_promises": [], "promises_tested": 2,
            });
            let written = serde_json::json!({ "started_at": "2026-01-01T00:00:00Z", "verdict": verdict });
            std::fs::write(page.report.join("index.html"), "<title>A report</title><h1>Nine of ten</h1>")
                .expect("written");
            std::fs::write(page.report.join("report.json"), written.to_string()).expect("written");
            browser.until(&format!("{report}.startsWith('PASSED')")).await;
            browser
                .until("document.getElementById('report-frame').contentDocument?.body?.innerText === 'Nine of ten'")
                .await;
            assert_eq!(browser.console_errors().await, [""; 0]);
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_reloaded_or_loses_its_connection_in_a_sale_shows_the_whole_sale() {
    on_a_page(async |page: &Page<'_>| {
        let server = page.url.trim_start_matches("http://").parse().expect("an address");
        let proxy = Proxy::start(server).await.expect("a proxy");
        in_a_browser(&format!("http://{}", proxy.addr()), async |browser| {
            browser.click("#sell").await;
            browser.until(&format!("Number({}) > 0", shelf(0, "sold"))).await;
            browser.driver.refresh().await.expect("reloaded");
            browser.until(&format!("{EVENTS}.includes('Sale 1 began')")).await;
            assert_eq!(browser.console_errors().await, [""; 0]);

            proxy.cut();
            browser.until("document.getElementById('connection').textContent.includes('trying again')").await;
            proxy.heal();
            browser.until(&format!("{EVENTS}.includes('The sale ended')")).await;
            browser.until("document.getElementById('connection').textContent.startsWith('In the databases')").await;
            assert_eq!(browser.value(&format!("{EVENTS}.match(/Sale 1 began/g).length")).await, "1");
            assert_eq!(browser.value(&shelf(1, "oversold")).await, "0");
        })
        .await;
        let closed = timeout(TIME_LIMIT, async {
            while proxy.connections() > 0 {
                sleep(POLL).await;
            }
        });
        assert!(closed.await.is_ok(), "the browser has ended, so its connections have");
    })
    .await;
}
