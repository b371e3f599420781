// The two shelves of a sale: their numbers, their charts, and what happened.

import { draw } from "./chart.js";

const shelves = [...document.querySelectorAll(".shelf")];
const state = { sale: 0, began: 0, points: [[], []], pauses: [], pausedSince: null };

/** Forgets what was drawn; the next sale begins a new chart. */
export function clear() {
  Object.assign(state, { points: [[], []], pauses: [], pausedSince: null });
}

/** Takes a moment of the stream; returns sentences about what changed since the last one. */
export function take(moment, last) {
  const { stage } = moment, seen = [];
  if (stage.sale !== state.sale) {
    Object.assign(state, { sale: stage.sale, began: moment.at_ms, points: [[], []], pauses: [], pausedSince: null });
    if (stage.sale > 0 && stage.selling) seen.push(`Sale ${stage.sale} began: ${moment.shelves.map((shelf) => shelf.strategy).join(" beside ")}.`);
  }
  const at = (moment.at_ms - state.began) / 1000;
  moment.shelves.forEach((shelf, number) => {
    const points = state.points[number], before = points.at(-1);
    // Nothing changes any more once a sale has ended: the chart stops there.
    if (stage.selling || !before || before.sold !== shelf.sold || before.refused !== shelf.refused) points.push({ at, ...shelf });
    if (!before) return;
    const refused = shelf.refused - before.refused;
    if (refused > 0) seen.push(`${shelf.strategy}: ${refused} stale ${refused === 1 ? "token was" : "tokens were"} refused, nothing was written.`);
    if (before.oversold === 0 && shelf.oversold > 0) seen.push(`${shelf.strategy}: more was sold than there is.`);
  });
  const was = last?.stage;
  if (stage.paused && !state.pausedSince) {
    state.pausedSince = at;
    seen.push(stage.stops_processes ? `${stage.paused} is stopped right before a write; the lease ends without it.` : `${stage.paused} holds a write; the lease ends without it.`);
  }
  if (!stage.paused && state.pausedSince !== null) {
    state.pauses.push([state.pausedSince, at]);
    seen.push(`The write goes on after ${(at - state.pausedSince).toFixed(1)} s.`);
    state.pausedSince = null;
  }
  if (was?.pause_armed && !stage.pause_armed && !stage.paused) seen.push("No write met the pause: sell first, then pause while units are left.");
  if (was?.selling && !stage.selling) {
    seen.push(`The sale ended: ${moment.shelves.map((shelf) => `${shelf.strategy} sold ${shelf.sold} of ${shelf.stock}, ${shelf.oversold} too many`).join("; ")}.`);
  }
  return seen;
}

/** Shows the last moment. */
export function show(moment) {
  const now = (moment.at_ms - state.began) / 1000;
  const pauses = state.pausedSince === null ? state.pauses : [...state.pauses, [state.pausedSince, now]];
  const all = state.points.flat();
  const most = {
    seconds: Math.max(5, ...all.map((point) => point.at)),
    units: Math.max(120, ...all.map((point) => Math.max(point.sold, point.stock))),
  };
  shelves.forEach((section, number) => {
    const shelf = moment.shelves[number];
    draw(section.querySelector(".chart"), state.points[number], pauses, most);
    if (!shelf) return;
    for (const name of ["stock", "sold", "oversold", "refused"]) {
      const node = section.querySelector(`[data-number="${name}"]`);
      node.textContent = name === "oversold" && shelf.oversold > 0 ? `+${shelf.oversold}` : shelf[name];
      node.parentElement.classList.toggle("some", shelf[name] > 0);
    }
    section.querySelector('[data-number="row"]').textContent = `Row: available ${shelf.available} · fence ${shelf.fence} · applied ${shelf.applied_fence}`;
    const tried = shelf.tried_again > 0 ? `, ${shelf.tried_again} tried again` : "";
    section.querySelector('[data-number="answers"]').textContent = `${shelf.ended} orders answered, ${shelf.sold_out} of them “sold out”${tried}.`;
  });
}
