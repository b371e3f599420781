//! What is written is what happened, and is read back.

use super::*;

fn invocation(key: &str) -> Invocation {
    Invocation { key: key.into(), sku: "a".into(), quantity: 1, to: "http://x".into() }
}

#[test]
fn every_invocation_and_answer_is_a_line_and_silence_is_one_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let history = History::begin(&path).expect("a file");
    let (first, second) = (history.invoked(invocation("k1")), history.invoked(invocation("k2")));
    let silence = Answer { status: None, code: None, order_id: None, lock_ms: None };
    history.answered(second, silence);
    history.answered(first, Answer { status: Some(201), code: None, order_id: Some(Uuid::nil()), lock_ms: Some(0.5) });

    let operations = history.finish().expect("written");
    assert!(operations[0].invoked <= operations[1].invoked);
    assert_eq!(*history.tally().borrow(), Tally { ended: 2, accepted: 1, silence: 1, ..Tally::default() });
    let text = std::fs::read_to_string(path).expect("the file");
    let events: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let named: Vec<_> = events.iter().map(|e| (e["event"].as_str(), e["op"].as_u64())).collect();
    assert_eq!(
        named,
        [
            (Some("invoked"), Some(0)),
            (Some("invoked"), Some(1)),
            (Some("answered"), Some(1)),
            (Some("answered"), Some(0))
        ]
    );
    assert_eq!(events[2]["outcome"], "silence");
}

#[test]
fn what_was_written_is_read_back_to_the_microsecond() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let history = History::begin(&path).expect("a file");
    let (first, _never) = (history.invoked(invocation("k1")), history.invoked(invocation("k2")));
    let code = Some("out_of_stock".to_owned());
    history.answered(first, Answer { status: Some(409), code, order_id: None, lock_ms: Some(0.25) });
    let kept = history.finish().expect("written");
    let read = read(&path).expect("a history");
    let told = |operations: &[Operation]| -> Vec<_> {
        let one = |operation: &Operation| {
            let answer = operation.answered.as_ref();
            let answer = answer.map(|(at, answer)| (micros(*at), answer.outcome(), answer.lock_ms));
            (operation.invocation.key.clone(), micros(operation.invoked), answer)
        };
        operations.iter().map(one).collect()
    };
    assert_eq!(told(&read), told(&kept));
}

#[test]
fn a_file_that_is_no_history_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.jsonl");
    let invoked = r#"{"event":"invoked","op":0,"at_us":1,"key":"k","sku":"a","quantity":1,"to":"x"}"#;
    let answered = r#"{"event":"answered","op":0,"at_us":2,"outcome":"silence","status":null,"code":null,"order_id":null,"lock_ms":null}"#;
    let wrong = [
        ("{}".to_owned(), "line 1"),
        (format!("{invoked}\n{invoked}"), "line 2 is not of a history: request 0 is not the next"),
        (format!("{invoked}\n{answered}\n{answered}"), "line 3 is not of a history: request 0 was answered before"),
        (answered.to_owned(), "line 1 is not of a history: request 0 was never made"),
        (format!("{invoked}\n{}", &answered[..40]), "line 2"),
    ];
    for (text, told) in wrong {
        std::fs::write(&path, &text).expect("a file");
        let error = read(&path).expect_err("no history").to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}
