//! One pause as it happened: the replica that was paused, the orders for the same SKU around it, and what was written.
//!
//! Invariant: orders come from the history, writes from the ledger, refusals from the database.
//! Absence: nothing is judged here. Colours are variables of the page.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::drawing::Drawing;
use super::timeline::Clocks;
use crate::audit::{DbSnapshot, RefusalStep};
use crate::cluster::lab_client::WriteOutcome;
use crate::faults::{EventOutcome, FaultEvent};
use crate::workload::operation::Operation;

/// What is shown before the pause and after it, in milliseconds.
const BEFORE: f64 = 120.0;
const AFTER: f64 = 350.0;
/// Orders that are shown: those that began closest to the end of the pause.
const ORDERS: usize = 10;

/// A pause and what happened around it. Times are milliseconds since the row began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloseUp {
    /// The replica that was paused.
    pub replica: String,
    /// Begin and end of the pause.
    pub paused_ms: (f64, f64),
    /// The token of the paused write.
    pub token: Option<i64>,
    /// How the paused write ended.
    pub outcome: String,
    /// Orders for the same SKU, oldest first.
    pub orders: Vec<OrderSpan>,
    /// Writes to the SKU, in their order.
    pub writes: Vec<Write>,
    /// When stale tokens of the SKU were refused at the write.
    pub refused_ms: Vec<f64>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderSpan {
    /// From its request to its answer.
    pub span_ms: (f64, f64),
    /// The status of the answer; absent without one.
    pub status: Option<u16>,
    /// The order whose write was paused.
    pub paused: bool,
}

/// One write to the SKU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Write {
    /// When, by the clock of the database.
    pub at_ms: f64,
    /// Units available as the writer had read them, and as it wrote them.
    pub units: (i64, i64),
    /// It did not begin where the write before it had ended: an update was lost.
    pub lost: bool,
    /// It is the paused write.
    pub paused: bool,
}

impl CloseUp {
    /// Of the event that shows most: a paused write that was accepted although it was stale, else one that was refused.
    pub fn of(events: &[FaultEvent], history: &[Operation], snapshot: &DbSnapshot, clocks: Clocks) -> Option<Self> {
        let rank = |event: &&FaultEvent| match &event.outcome {
            EventOutcome::PausedWrite { ended: Some(WriteOutcome::Written), stale: true } => Some(2),
            EventOutcome::PausedWrite { ended: Some(WriteOutcome::Refused(_)), stale: true } => Some(1),
            _ => None,
        };
        let event = events.iter().filter(|event| event.fired && rank(event).is_some()).max_by_key(rank)?;
        let (from, to) = (ms(event.from_ms), ms(event.to_ms));
        let within = |at: f64| (from - BEFORE..=to + AFTER).contains(&at);
        let of_event = |order: Option<Uuid>| order.is_some() && order == event.order_id;

        let reservations: HashSet<Uuid> =
            snapshot.reservations.iter().filter(|one| of_event(Some(one.order_id))).map(|one| one.id).collect();
        let lost_updates: HashSet<i64> = snapshot.lost_updates().iter().map(|lost| lost.seq).collect();
        let of_sku = snapshot.ledger.iter().filter(|row| row.sku == event.sku);
        let writes = of_sku.map(|row| Write {
            at_ms: millis(clocks.in_row(row.at)),
            units: (row.before, row.after),
            lost: lost_updates.contains(&row.seq),
            paused: row.reservation_id.is_some_and(|id| reservations.contains(&id)),
        });
        let writes = writes.filter(|write| within(write.at_ms)).collect();

        let of_sku = history.iter().filter(|one| one.invocation.sku == event.sku);
        let spans = of_sku.filter_map(|one| {
            let (answered, answer) = one.answered.as_ref()?;
            let span_ms = (millis(one.invoked), millis(*answered));
            let overlaps = span_ms.0 <= to + AFTER && span_ms.1 >= from - BEFORE;
            overlaps.then(|| OrderSpan { span_ms, status: answer.status, paused: of_event(answer.order_id) })
        });
        let mut orders: Vec<OrderSpan> = spans.collect();
        // The paused order first, then those during the pause, then the nearest.
        let distance = |span: (f64, f64)| (span.0 - to).max(from - span.1).max(0.0);
        let key = |order: &OrderSpan| (!order.paused, distance(order.span_ms), (order.span_ms.0 - to).abs());
        orders.sort_by(|a, b| {
            let ((a, far_a, began_a), (b, far_b, began_b)) = (key(a), key(b));
            a.cmp(&b).then(far_a.total_cmp(&far_b)).then(began_a.total_cmp(&began_b))
        });
        orders.truncate(ORDERS);
        orders.sort_by(|a, b| a.span_ms.0.total_cmp(&b.span_ms.0));

        let refused = snapshot.refusals.iter().filter(|one| one.sku == event.sku && one.step == RefusalStep::Write);
        let refused_ms = refused.map(|one| millis(clocks.in_row(one.at))).filter(|at| within(*at)).collect();
        Some(Self {
            replica: event.replica.clone(),
            paused_ms: (from, to),
            token: event.fencing_token,
            outcome: event.outcome.to_string(),
            orders,
            writes,
            refused_ms,
        })
    }
}

/// In units of the SVG.
const NAMES: f64 = 130.0;
const LANES: f64 = 640.0;
const WIDTH: f64 = NAMES + LANES + 20.0;
const LANE: f64 = 24.0;
const TOP: f64 = 26.0;

/// The lanes: the paused replica, each order, and the ledger.
pub(super) fn lanes(close_up: &CloseUp) -> String {
    let (from, to) = (close_up.paused_ms.0 - BEFORE, close_up.paused_ms.1 + AFTER);
    let x = |at: f64| NAMES + LANES * ((at - from) / (to - from)).clamp(0.0, 1.0);
    let orders = u32::try_from(close_up.orders.len()).unwrap_or(0);
    let height = TOP + LANE * (f64::from(orders) + 3.2) + 22.0;
    let mut svg = Drawing::new(WIDTH, height, "One pause, the orders for the same SKU, and what was written");
    let (begin, end) = (x(close_up.paused_ms.0), x(close_up.paused_ms.1));
    let bottom = height - 22.0;
    svg.add(format_args!(
        r#"<rect x="{begin:.1}" y="{TOP}" width="{:.1}" height="{:.1}" fill="var(--fault)" opacity="0.3"/>"#,
        end - begin,
        bottom - TOP
    ));
    for (number, order) in (1_u32..).zip(&close_up.orders) {
        let (left, right, top) = (x(order.span_ms.0), x(order.span_ms.1), TOP + LANE * f64::from(number) + 5.0);
        let colour = match order.status {
            Some(201) => "--sold",
            Some(409) => "--line",
            _ => "--refused",
        };
        svg.add(format_args!(r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" rx="3" fill="var({colour})" opacity="0.8"/>"#,
            (right - left).max(2.0),
            LANE - 10.0
        ));
    }
    let token = close_up.token.map(|token| format!(", token {token}")).unwrap_or_default();
    let paused = format!("paused for {:.0} ms{token}", close_up.paused_ms.1 - close_up.paused_ms.0);
    svg.text(NAMES - 8.0, TOP + LANE * 0.7, "end", "--ink", &close_up.replica);
    svg.text(f64::midpoint(begin, end), TOP + LANE * 0.7, "middle", "--ink", &paused);
    for (number, order) in (1_u32..).zip(&close_up.orders) {
        let name = if order.paused { "the paused order" } else { "an order" };
        svg.text(NAMES - 8.0, TOP + LANE * (f64::from(number) + 0.7), "end", "--muted", name);
        let status = order.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let end = x(order.span_ms.1);
        // At the right edge the status stands inside.
        let (at, anchor) = if end > NAMES + LANES - 40.0 { (end - 5.0, "end") } else { (end + 5.0, "start") };
        svg.text(at, TOP + LANE * (f64::from(number) + 0.7), anchor, "--ink", &status);
    }
    let ledger = TOP + LANE * (f64::from(orders) + 1.0);
    svg.text(NAMES - 8.0, ledger + LANE * 0.7, "end", "--ink", "ledger");
    // Labels that would overlap are left out; the first lost update has a line of its own.
    let first_lost = close_up.writes.iter().find(|write| write.lost);
    let mut free_from = 0.0;
    for write in &close_up.writes {
        let at = x(write.at_ms);
        let is_first_lost = first_lost == Some(write);
        if is_first_lost || (at >= free_from && !write.lost) {
            let lower = if write.lost { 1.0 } else { 0.0 };
            let label =
                format!("{} → {}{}", write.units.0, write.units.1, if write.lost { " lost update" } else { "" });
            let colour = if write.lost { "--over" } else { "--muted" };
            svg.text(
                at.clamp(NAMES + 70.0, NAMES + LANES - 60.0),
                ledger + LANE * (1.5 + lower),
                "middle",
                colour,
                &label,
            );
            if !write.lost {
                free_from = at + 78.0;
            }
        }
    }
    svg.text(NAMES, height - 4.0, "start", "--muted", &format!("{from:.0} ms"));
    svg.text(NAMES + LANES, height - 4.0, "end", "--muted", &format!("{to:.0} ms after the row began"));
    for write in &close_up.writes {
        let at = x(write.at_ms);
        let (colour, width) = if write.lost { ("--over", 4) } else { ("--sold", 2) };
        svg.add(format_args!(
            r#"<line x1="{at:.1}" x2="{at:.1}" y1="{:.1}" y2="{:.1}" stroke="var({colour})" stroke-width="{width}"/>"#,
            ledger + 4.0,
            ledger + LANE - 2.0
        ));
    }
    for at in &close_up.refused_ms {
        let (across, down) = (x(*at), ledger + LANE / 2.0);
        svg.add(format_args!(r#"<path d="M{across:.1},{:.1}l7,8l-7,8l-7,-8z" fill="var(--refused)"/>"#, down - 8.0));
    }
    svg.finish()
}

fn millis(since: Duration) -> f64 {
    ms(since.as_micros()) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of one row, for a drawing")]
fn ms(at: u128) -> f64 {
    at as f64
}

#[cfg(test)]
mod tests {
    use contract::ProblemCode;
    use time::OffsetDateTime;

    use super::*;
    use crate::audit::{LedgerKind, LedgerRow, Refusal};
    use crate::report::sample::paused_write;
    use crate::workload::operation::{Answer, Invocation};

    const ZERO: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn event(from_ms: u128, ended: WriteOutcome) -> FaultEvent {
        paused_write(from_ms, from_ms + 600, ended)
    }

    fn row(at_ms: u64, before: i64, after: i64) -> LedgerRow {
        LedgerRow {
            seq: i64::try_from(at_ms).expect("small"),
            sku: "a".into(),
            delta: after - before,
            before,
            after,
            fence: None,
            kind: LedgerKind::Reserve,
            reservation_id: None,
            transaction: String::new(),
            at: ZERO + Duration::from_millis(at_ms),
        }
    }

    fn order(sku: &str, from_ms: u64, to_ms: u64) -> Operation {
        let invocation = Invocation { key: "k".into(), sku: sku.into(), quantity: 1, to: "x".into() };
        let answer = Answer { status: Some(201), code: None, order_id: None, lock_ms: None };
        let answered = Some((Duration::from_millis(to_ms), answer));
        Operation { invocation, invoked: Duration::from_millis(from_ms), answered }
    }

    #[test]
    fn an_accepted_late_write_is_shown_rather_than_a_refused_one_with_what_happened_around_it() {
        let refused = WriteOutcome::Refused(ProblemCode::StaleFencingToken);
        let events = [event(9_000, refused), event(1_000, WriteOutcome::Written)];
        // The clocks agree.
        let clocks = Clocks { row: Duration::from_mins(1), database: ZERO + Duration::from_mins(1) };
        let refusal = |at_ms| Refusal {
            sku: "a".into(),
            token: 1,
            current: 2,
            step: RefusalStep::Write,
            order_id: None,
            at: ZERO + Duration::from_millis(at_ms),
        };
        let ledger = vec![row(100, 9, 8), row(1_300, 8, 7), row(1_601, 8, 7), row(5_000, 7, 6)];
        let snapshot = DbSnapshot { ledger, refusals: vec![refusal(1_650), refusal(5_000)], ..DbSnapshot::default() };
        let history = [order("a", 900, 1_610), order("b", 900, 1_610), order("a", 4_000, 4_100)];
        let shown = CloseUp::of(&events, &history, &snapshot, clocks).expect("a pause");
        assert_eq!(shown.paused_ms, (1_000.0, 1_600.0));
        let writes: Vec<_> = shown.writes.iter().map(|write| (write.at_ms, write.lost)).collect();
        assert_eq!(writes, [(1_300.0, false), (1_601.0, true)]);
        assert_eq!(shown.orders.iter().map(|order| order.span_ms).collect::<Vec<_>>(), [(900.0, 1_610.0)]);
        assert_eq!(shown.refused_ms, [1_650.0]);
        assert_eq!(CloseUp::of(&[], &history, &snapshot, clocks), None);
    }
}
