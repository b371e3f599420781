//! The same seed, the same run; enough demand; fewer strategies, less time.

use super::*;

const PRESET: Load = Load { users: 16, iterations: 0, skus: 2, stock: 100, skew: 0.0 };

#[test]
fn demand_is_four_times_the_stock_whatever_is_left_open() {
    for (users, iterations, stock) in
        [(None, None, None), (Some(7), None, Some(100)), (Some(8), Some(10), None), (None, None, Some(3))]
    {
        let load = Load::tuned(&PRESET, users, iterations, None, stock);
        assert!(load.attempts() >= DEMAND * load.stock, "{load:?}");
    }
}

#[test]
fn all_units_are_somewhere_and_every_sku_has_one() {
    let load = Load { users: 1, iterations: 1, skus: 3, stock: 11, skew: 0.0 };
    assert_eq!(load.stocks(1), [4, 4, 3]);
    assert_eq!(Load::tuned(&PRESET, None, None, Some(9), Some(2)).skus, 2);
}

#[test]
fn a_seed_decides_the_order_and_nothing_else() {
    let load = Load { users: 10, iterations: 10, skus: 4, stock: 25, skew: 0.0 };
    assert_eq!(load.demand(7), load.demand(7));
    assert_ne!(load.demand(7), load.demand(8));
    let mut sorted = load.demand(8);
    sorted.sort_unstable();
    assert!(sorted.chunks(25).enumerate().all(|(sku, chunk)| chunk.iter().all(|&s| s == sku as u64)));
}

#[test]
fn skewed_demand_wants_the_first_most_and_can_buy_out_every_sku() {
    let load = Load { users: 10, iterations: 100, skus: 20, stock: 250, skew: 1.0 };
    let demand = load.demand(7);
    let asked = |sku: u64| demand.iter().filter(|&&wanted| wanted == sku).count() as u64;
    assert!(demand.iter().all(|&sku| sku < 20));
    assert!(asked(0) > asked(1) && asked(1) > asked(10));
    assert!((0..).zip(load.stocks(7)).all(|(sku, stock)| asked(sku) >= DEMAND * stock));
}

#[test]
fn an_open_sale_is_calm_until_the_rush_and_leaves_nobody_out() {
    let load = Load { users: 10, iterations: 20, skus: 2, stock: 50, skew: 0.0 };
    let window = Duration::from_secs(10);
    let arrivals = load.arrivals(7, window);
    assert_eq!(arrivals, load.arrivals(7, window));
    assert_eq!(arrivals.len(), 200);
    let calm = arrivals.iter().filter(|(at, _)| *at < window.mul_f64(CALM)).count();
    assert!((40..=50).contains(&calm), "{calm} orders for 50 units come while it is calm");
    assert!(arrivals.iter().all(|(at, _)| *at <= window + Duration::from_millis(5)));
}

#[test]
fn strikes_come_in_order_while_units_are_left() {
    let open = Arrivals::Open { window: Duration::from_secs(10) };
    for (arrivals, last) in [(Arrivals::Closed, 0.75), (open, CALM)] {
        let injections = injections(3, 5, arrivals);
        assert_eq!(injections.len(), 5);
        assert!(injections.windows(2).all(|pair| pair[0].after <= pair[1].after));
        assert!(injections.iter().all(|injection| injection.after < last));
    }
}

#[test]
fn a_cell_repeated_for_one_strategy_takes_its_part_of_the_time_and_no_less_than_a_sale_needs() {
    let all = [Strategy::Off, Strategy::Redis, Strategy::Redlock, Strategy::Optimistic];
    let cell = |seconds| {
        let window = Duration::from_secs(seconds);
        cells(&all, &[Fault::PauseInventory], Arrivals::Open { window }, 8).remove(0)
    };
    let again = |seconds| cell(seconds).with_only(vec![Strategy::Redis]);
    assert_eq!(again(200).arrivals, Arrivals::Open { window: Duration::from_secs(50) });
    assert_eq!(again(60).arrivals, Arrivals::Open { window: SHORTEST_WINDOW });
    assert_eq!(again(10).arrivals, Arrivals::Open { window: Duration::from_secs(10) });
    assert_eq!((again(200).injections, again(200).strategies), (4, vec![Strategy::Redis]));
}

#[test]
fn named_strategies_are_attacked_together_under_each_fault_named() {
    let crossed = cells(&[Strategy::Off, Strategy::Redis], &[Fault::None, Fault::PauseOrder], Arrivals::Closed, 4);
    assert_eq!(crossed.iter().map(|cell| cell.strategies.len()).collect::<Vec<_>>(), [2, 2]);
    let story: Vec<_> = cells(&[], &[], Arrivals::Closed, 4).iter().flat_map(Cell::rows).collect();
    assert_eq!(story, STORY);
    assert_eq!(cells(&[Strategy::Redis], &[], Arrivals::Closed, 4)[0].fault, Fault::None);
}
