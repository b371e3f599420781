//! `oversell cost` on real services: every column of both tables is measured, and every answered order is accepted.

use clap::Parser as _;
use load_tests::cli::{Cli, Command};
use load_tests::interrupt::Interrupt;

use crate::small_stack::binaries;

#[tokio::test]
async fn every_column_is_measured_and_no_order_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder_name = folder.path().display().to_string();
    let arguments = [
        "oversell",
        "cost",
        "--strategies",
        "atomic",
        "--seconds",
        "1",
        "--runs",
        "1",
        "--existing-orders",
        "1000",
        "--connections",
        "64",
        "--redis-nodes",
        "1",
        "--report",
    ];
    let arguments = arguments.into_iter().chain([folder_name.as_str()]);
    let Command::Cost(args) = Cli::parse_from(arguments).command else { panic!("it is `cost`") };

    args.cost(binaries()).run(&Interrupt::never()).await.expect("a measurement");

    let text = std::fs::read_to_string(folder.path().join("cost.md")).expect("cost.md");
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| atomic |")).collect();
    let cells: Vec<_> = rows.iter().flat_map(|row| row.split(" | ").skip(1)).collect();
    let (measured, accounts): (Vec<_>, Vec<_>) = cells.iter().copied().partition(|cell: &&str| cell.contains("/s"));
    // Four numbers of customers, three of SKUs, three of lines, and sold out; three ratios to the floor; the account of
    // six points, eight columns each.
    assert_eq!((rows.len(), measured.len(), accounts.len()), (5 + 6, 4 + 3 + 3 + 1, 3 + 6 * 8), "{text}");
    assert!(!text.contains("not placed") && text.contains("1000 orders of the past"), "{text}");
    let floor: Vec<_> = text.lines().filter(|line| line.starts_with("| floor |")).collect();
    assert_eq!(floor.len(), 1 + 3, "{text}");
    assert_eq!(floor[0].matches("/s, ").count(), 3, "{text}");
    assert!(floor[1..].iter().all(|row| !row.contains("**0.00**")), "its processor time is counted: {text}");
    let overload = std::fs::read_to_string(folder.path().join("overload.md")).expect("overload.md");
    let loads = overload.lines().filter(|line| line.starts_with("| ") && !line.contains("connections")).count();
    assert_eq!(loads, 4, "1, 16, 64 and 64 again: {overload}");
    assert!(folder.path().join("overload.svg").exists());
    // A slow machine may not answer every order within the second.
    let rates = cells.iter().filter_map(|cell| cell.split_once("/s, ")).map(|(rate, _)| rate.parse::<u64>());
    assert!(rates.map(|rate| rate.expect("a number")).sum::<u64>() > 0, "{text}");
}
