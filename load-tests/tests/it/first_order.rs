//! The first order by hand, as a newcomer makes it: the commands that `oversell stack` prints, and `docs/api.http`.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use load_tests::cluster::stack::Stack;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::small_stack::{binaries, stack_config};

/// Longer than anything here takes, on any machine.
const TIME_LIMIT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn the_commands_that_stack_prints_set_stock_place_an_order_and_confirm_it() {
    let mut stack = Command::new(env!("CARGO_BIN_EXE_oversell"))
        .args(["stack", "--redis-nodes=3"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a stack");
    let mut output = BufReader::new(stack.stdout.take().expect("its output")).lines();
    let mut commands = Vec::new();
    let reading = async {
        while let Some(line) = output.next_line().await.expect("a line") {
            if line.contains("curl ") {
                commands.push(line);
            } else if line.starts_with("Ctrl-C") {
                return;
            }
        }
        panic!("the stack ended");
    };
    timeout(TIME_LIMIT, reading).await.expect("the whole output");
    assert_eq!(commands.len(), 3, "{commands:#?}");

    let shell = Command::new("sh").args(["-ec", &commands.join("\n")]).output();
    let shell = timeout(TIME_LIMIT, shell).await.expect("an end").expect("sh and curl");
    let (out, err) = (String::from_utf8_lossy(&shell.stdout), String::from_utf8_lossy(&shell.stderr));
    let answers: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert_eq!(answers.len(), 2, "{out}{err}");
    assert_eq!((&answers[0]["sku"], &answers[0]["available"]), (&"tea".into(), &10.into()), "{out}");
    let placed: Value = serde_json::from_str(err.trim()).unwrap_or_else(|error| panic!("{error}: {err}"));
    assert_eq!((&placed["status"], &placed["id"]), (&"held".into(), &answers[1]["id"]), "{out}{err}");
    assert_eq!(answers[1]["status"], "confirmed", "{out}");

    let pid = i32::try_from(stack.id().expect("it runs")).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::INT).expect("a signal");
    assert!(timeout(TIME_LIMIT, stack.wait()).await.expect("an end").expect("a status").success());
}

/// One request of `docs/api.http`.
#[derive(Debug)]
struct Request {
    name: Option<String>,
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// The requests of a file, with the variables that it sets replaced by `variables`.
fn requests(file: &str) -> Vec<Request> {
    let parse = |block: &str| {
        let mut name = None;
        let mut lines = block.lines().skip(1).skip_while(|line| {
            name = name.take().or(line.strip_prefix("# @name ").map(str::to_owned));
            line.is_empty() || line.starts_with('#')
        });
        let (method, url) = lines.next()?.split_once(' ')?;
        let headers = lines.by_ref().map_while(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let body = lines.collect::<Vec<_>>().join("\n");
        Some(Request { name, method: method.parse().expect(method), url: url.to_owned(), headers, body })
    };
    file.split("###").skip(1).map(|block| parse(block).unwrap_or_else(|| panic!("no request in: {block}"))).collect()
}

fn filled(text: &str, variables: &HashMap<String, String>) -> String {
    let filled =
        variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
    assert!(!filled.contains("{{"), "a variable of this line is not set: {filled}");
    filled
}

#[tokio::test]
async fn every_request_of_api_http_succeeds_in_their_order() {
    let stack = Stack::start(&stack_config(), &binaries(), None).await.expect("a stack");
    let target = &stack.target;
    let set = [("order", &target.orders[0]), ("inventory", &target.inventory[0]), ("token", &target.inventory_token)];
    let mut variables: HashMap<_, _> = set.map(|(name, value)| (name.to_owned(), value.clone())).into();
    let http = reqwest::Client::builder().no_proxy().timeout(TIME_LIMIT).build().expect("a client");
    let file = include_str!("../../../docs/api.http");
    let requests = requests(file);
    assert_eq!(requests.len(), file.matches("\n###").count());
    let mut last = String::new();
    for request in requests {
        let mut call = http.request(request.method.clone(), filled(&request.url, &variables));
        for (name, value) in &request.headers {
            call = call.header(name, filled(value, &variables));
        }
        let answer = call.body(request.body.clone()).send().await.expect("an answer");
        let status = answer.status();
        last = answer.text().await.expect("a body");
        assert!(status.is_success(), "{status} {last} to {request:?}");
        if let Some(name) = request.name {
            let answer: Value = serde_json::from_str(&last).expect("JSON");
            let id = answer["id"].as_str().expect("an id").to_owned();
            variables.insert(format!("{name}.response.body.id"), id);
        }
    }
    let page: Value = serde_json::from_str(&last).expect("JSON");
    let available: Vec<_> = page["stock"].as_array().expect("SKUs").iter().map(|sku| &sku["available"]).collect();
    assert_eq!(available, [10, 9], "{last}");
    stack.shut_down().await;
}
