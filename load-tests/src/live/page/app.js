// The page: reads the stream of moments, shows the last one, and sends what buttons and keys say.

import { at, make, send } from "./dom.js";
import * as quorum from "./quorum.js";
import * as report from "./report.js";
import * as sale from "./sale.js";
import { quorumOf } from "./steps.js";
import { TraceView } from "./trace.js";

const VIEWS = ["sale", "order", "holder", "quorum", "report"];
const traces = { order: new TraceView(at("view-order"), "order"), holder: new TraceView(at("view-holder"), "holder") };
const item = (text, kind) => make(kind ? `li.${kind}` : "li", text);
const refused = (why) => { at("answer").textContent = why; };
let last = null, view = "sale", shown = -1;

function log(moment, sentence) {
  at("events").prepend(make("li", make("time", `${(moment.at_ms / 1000).toFixed(1)} s`), sentence));
}

function compare(moment) {
  const seen = sale.take(moment, last);
  for (const list of ["replicas", "nodes"]) {
    moment[list].forEach((now, number) => {
      const before = last?.[list][number];
      if (before && before.responding !== now.responding) seen.push(`${now.name} ${now.responding ? "answers again" : "does not answer"}.`);
      if (before && before.fault !== now.fault && now.fault && now.fault !== "kill") seen.push(`${now.name} is ${quorum.SHOWN[now.fault]}.`);
    });
  }
  const up = (some) => quorum.answering(some.nodes);
  if (last && moment.nodes.length > 0) {
    const needed = quorumOf(moment.nodes.length);
    if (up(last) >= needed && up(moment) < needed) seen.push(`${up(moment)} of ${moment.nodes.length} lock nodes are left, fewer than a quorum: nobody gets the lock, orders are answered with 503.`);
    if (up(last) < needed && up(moment) >= needed) seen.push("A quorum of the lock nodes answers again: orders are accepted.");
  }
  if (moment.stage.failed && moment.stage.failed !== last?.stage.failed) seen.push(moment.stage.failed);
  seen.forEach((sentence) => log(moment, sentence));
}

function show(moment) {
  const { stage } = moment;
  at("connection").textContent = moment.databases_read ? `In the databases: ${moment.sold} of ${moment.stock} units sold, ${moment.oversold} oversold.` : "The databases cannot be read.";
  const over = moment.shelves.some((shelf) => shelf.oversold > 0) || (moment.shelves.length === 0 && moment.oversold > 0);
  const kept = moment.shelves.length > 0 && !stage.selling && !over;
  at("verdict").textContent = moment.verdict;
  at("verdict").className = `banner ${over || !moment.databases_read ? "over" : kept ? "good" : ""}`;
  sale.show(moment);
  quorum.show(moment, refused);
  const faults = Object.keys(stage.node_faults).length;
  if (stage.offered_node_faults.length > 0 && !stage.offered_node_faults.includes("kill")) at("break-node").querySelector("b").textContent = "Pause a lock node";
  const disabled = {
    sell: stage.selling, pause: !stage.selling || stage.pause_armed || Boolean(stage.paused), continue: !stage.paused,
    "break-node": stage.offered_node_faults.length === 0 || faults === moment.nodes.length, "heal-nodes": faults === 0, heal: faults === 0,
    audit: stage.selling, try: Boolean(stage.tracing_order),
  };
  for (const [id, off] of Object.entries(disabled)) at(id).disabled = off;
  for (const button of document.querySelectorAll(".trace")) button.disabled = Boolean(stage.tracing_order);
  const lock = (held) => `${"AB"[held.shelf]} token ${held.token}${held.holder ? ` by ${held.holder}` : ""}, ${held.left_ms} ms`;
  const chips = moment.nodes.map((node) => item(`${node.name} ${node.fault ? quorum.SHOWN[node.fault] : !node.responding ? "does not answer" : node.locks.map(lock).join("; ") || "free"}`, node.responding && !node.fault ? "" : "down"));
  at("nodes").replaceChildren(...(chips.length > 0 ? chips : [item("their addresses are not known here")]));
  at("replicas").replaceChildren(...moment.replicas.map((replica) => {
    const paused = stage.paused === replica.name;
    return item(`${replica.name}${paused ? (stage.stops_processes ? " stopped" : " holds a write") : replica.responding ? "" : " does not answer"}`, replica.responding && !paused ? "" : "down");
  }));
  if (stage.traces !== shown) {
    shown = stage.traces;
    for (const trace of Object.values(traces)) trace.load();
    quorum.replies();
  }
}

async function audit() {
  refused("The audit begins once nothing is in flight.");
  const answer = await fetch("v1/audit"), body = await answer.json();
  refused(answer.ok ? "" : body.detail);
  if (!answer.ok) return;
  const line = (rule) => item(`${rule.item}. ${rule.state.replace("_", " ")}: ${rule.rule}${rule.found.slice(0, 3).map((found) => ` — ${found}`).join("")}${rule.found.length > 3 ? ` — and ${rule.found.length - 3} more` : ""}`, rule.state);
  at("statement").querySelector("ul").replaceChildren(...body.items.map(line));
  at("statement").hidden = false;
  at("statement").scrollIntoView({ block: "nearest" });
}

const strategy = (name) => at(`view-${name}`).querySelector("select").value;
const does = async (action) => refused(await send(action));
const actions = {
  sell: () => does({ do: "sell", strategies: [at("strategy-0").value, at("strategy-1").value] }),
  pause: () => does({ do: "pause" }), continue: () => does({ do: "continue" }),
  "break-node": () => does({ do: "break-node" }), "heal-nodes": () => does({ do: "heal-nodes" }), heal: () => does({ do: "heal-nodes" }),
  try: () => does({ do: "trace", kind: "order", strategy: strategy("quorum") }),
  audit,
  reset: async () => {
    if (last?.stage.paused) await send({ do: "continue" });
    if (Object.keys(last?.stage.node_faults ?? {}).length > 0) await send({ do: "heal-nodes" });
    at("events").replaceChildren();
    at("statement").hidden = true;
    refused("");
    sale.clear();
  },
  larger: () => {
    const root = document.documentElement, sizes = ["", "125%", "160%"];
    root.style.fontSize = sizes[(sizes.indexOf(root.style.fontSize) + 1) % sizes.length];
  },
  "full-screen": () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
};
for (const [id, act] of Object.entries(actions)) at(id).addEventListener("click", () => Promise.resolve(act()).catch((error) => refused(`The server does not answer: ${error.message}`)));
for (const kind of Object.keys(traces)) {
  at(`view-${kind}`).querySelector(".trace").addEventListener("click", () => does({ do: "trace", kind, strategy: strategy(kind) }));
}

const keys = {
  sale: { s: "sell", p: "pause", c: "continue", k: "break-node", r: "heal-nodes", a: "audit" },
  quorum: { o: "try", r: "heal" },
};
function choose() {
  view = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "sale";
  for (const name of VIEWS) at(`view-${name}`).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (view === "report") report.look();
}
addEventListener("hashchange", choose);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
  const key = event.key.toLowerCase();
  if (VIEWS[Number(key) - 1]) { location.hash = VIEWS[Number(key) - 1]; return; }
  if (traces[view]?.key(key)) return;
  const button = keys[view]?.[key] ? at(keys[view][key]) : key === "o" ? at(`view-${view}`).querySelector(".trace") : null;
  if (button && !button.disabled) button.click();
});
setInterval(() => view === "report" && report.look().catch(() => {}), 2000);

const strategies = await (await fetch("v1/strategies")).json();
for (const select of document.querySelectorAll("select.strategy")) {
  const option = ({ name, available }) => Object.assign(document.createElement("option"), {
    value: name, textContent: available ? name : `${name} (no server here)`, disabled: !available, selected: name === select.dataset.chosen });
  select.replaceChildren(...strategies.map(option));
}
choose();

const stream = new EventSource("v1/events");
stream.onmessage = (event) => {
  const moment = JSON.parse(event.data);
  // After a reconnection the server sends the stored moments again.
  if (last && moment.number <= last.number && moment.at_ms <= last.at_ms) return;
  // A server that was started again counts from the beginning.
  if (last && moment.number < last.number) { location.reload(); return; }
  compare(moment);
  last = moment;
  requestAnimationFrame(() => moment === last && show(moment));
};
stream.onerror = () => { at("connection").textContent = "The connection is lost; trying again."; };
