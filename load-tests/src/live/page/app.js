// The page: reads the stream of moments, shows the last one, and sends what the buttons say.

import * as sale from "./sale.js";

const at = (id) => document.getElementById(id);
const item = (text, kind = "") => Object.assign(document.createElement("li"), { textContent: text, className: kind });
const keys = { s: "sell", p: "pause", c: "continue", k: "kill-node", r: "start-nodes", a: "audit" };
let last = null;

function log(moment, sentence) {
  const entry = document.createElement("li"), time = document.createElement("time");
  time.textContent = `${(moment.at_ms / 1000).toFixed(1)} s`;
  entry.append(time, sentence);
  at("events").prepend(entry);
}

function compare(moment) {
  const seen = sale.take(moment, last);
  for (const list of ["replicas", "nodes"]) {
    moment[list].forEach((now, number) => {
      const before = last?.[list][number];
      if (before && before.responding !== now.responding) seen.push(`${now.name} ${now.responding ? "answers again" : "does not answer"}.`);
    });
  }
  const up = (some) => some.nodes.filter((node) => node.responding).length;
  if (last && moment.nodes.length > 0) {
    const quorum = Math.floor(moment.nodes.length / 2) + 1;
    if (up(last) >= quorum && up(moment) < quorum) seen.push(`${up(moment)} of ${moment.nodes.length} lock nodes are left, fewer than a quorum: nobody gets the lock, orders are answered with 503.`);
    if (up(last) < quorum && up(moment) >= quorum) seen.push("A quorum of the lock nodes answers again: orders are accepted.");
  }
  seen.forEach((sentence) => log(moment, sentence));
}

function show(moment) {
  const all = `In the databases: ${moment.sold} of ${moment.stock} units sold, ${moment.oversold} oversold.`;
  at("connection").textContent = moment.databases_read ? all : "The databases cannot be read.";
  const over = moment.shelves.some((shelf) => shelf.oversold > 0) || (moment.shelves.length === 0 && moment.oversold > 0);
  const kept = moment.shelves.length > 0 && !moment.stage.selling && !over;
  at("verdict").textContent = moment.verdict;
  at("verdict").className = `banner ${over || !moment.databases_read ? "over" : kept ? "good" : ""}`;
  sale.show(moment);
  const { stage } = moment;
  const disabled = {
    sell: stage.selling, pause: !stage.can_pause || !stage.selling || stage.pause_armed || Boolean(stage.paused),
    continue: !stage.paused, "kill-node": !stage.can_kill || stage.killed.length === moment.nodes.length,
    "start-nodes": !stage.can_kill || stage.killed.length === 0, audit: stage.selling,
  };
  for (const [id, off] of Object.entries(disabled)) at(id).disabled = off;
  const tokens = (node) => node.locks.map((lock) => `${"AB"[lock.shelf]} token ${/:token:(\d+):/.exec(lock.value)?.[1] ?? "?"}`).join(", ");
  at("nodes").replaceChildren(...moment.nodes.map((node) => item(`${node.name} ${node.responding ? tokens(node) || "free" : "down"}`, node.responding ? "" : "down")));
  if (moment.nodes.length === 0) at("nodes").replaceChildren(item("not started by this program, so they cannot be asked"));
  at("replicas").replaceChildren(...moment.replicas.map((replica) => {
    const stopped = stage.paused === replica.name;
    return item(`${replica.name}${stopped ? " stopped" : replica.responding ? "" : " does not answer"}`, replica.responding && !stopped ? "" : "down");
  }));
}

async function send(action) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch("v1/actions", { method: "POST", headers, body: JSON.stringify(action) });
  at("answer").textContent = answer.ok ? "" : (await answer.json()).detail;
}

async function audit() {
  at("answer").textContent = "The audit begins once nothing is in flight.";
  const answer = await fetch("v1/audit"), body = await answer.json();
  at("answer").textContent = answer.ok ? "" : body.detail;
  if (!answer.ok) return;
  const line = (rule) => item(`${rule.item}. ${rule.state.replace("_", " ")}: ${rule.rule}${rule.found.slice(0, 3).map((found) => ` — ${found}`).join("")}${rule.found.length > 3 ? ` — and ${rule.found.length - 3} more` : ""}`, rule.state);
  at("statement").querySelector("ul").replaceChildren(...body.items.map(line));
  at("statement").hidden = false;
  at("statement").scrollIntoView({ block: "nearest" });
}

const actions = {
  sell: () => send({ do: "sell", strategies: [at("strategy-0").value, at("strategy-1").value] }),
  pause: () => send({ do: "pause" }),
  continue: () => send({ do: "continue" }),
  "kill-node": () => send({ do: "kill-node" }),
  "start-nodes": () => send({ do: "start-nodes" }),
  audit,
};
const act = (id) => actions[id]().catch((error) => { at("answer").textContent = `The server does not answer: ${error.message}`; });
for (const id of Object.keys(actions)) {
  at(id).disabled = true;
  at(id).addEventListener("click", () => act(id));
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
  const id = keys[event.key.toLowerCase()];
  if (id && !at(id).disabled) act(id);
});

const sizes = ["", "125%", "160%"];
at("larger").addEventListener("click", () => {
  const root = document.documentElement;
  root.style.fontSize = sizes[(sizes.indexOf(root.style.fontSize) + 1) % sizes.length];
});
at("full-screen").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()));

const strategies = await (await fetch("v1/strategies")).json();
["off", "redlock-fenced"].forEach((chosen, number) => {
  const option = ({ name }) => Object.assign(document.createElement("option"), { value: name, textContent: name, selected: name === chosen });
  at(`strategy-${number}`).replaceChildren(...strategies.map(option));
});

const stream = new EventSource("v1/events");
stream.onmessage = (event) => {
  const moment = JSON.parse(event.data);
  // After a reconnection the server sends the stored moments again.
  if (last && moment.number <= last.number && moment.at_ms <= last.at_ms) return;
  // A server that was started again counts from the beginning.
  if (last && moment.number < last.number) location.reload();
  compare(moment);
  last = moment;
  requestAnimationFrame(() => moment === last && show(moment));
};
stream.onerror = () => { at("connection").textContent = "The connection is lost; trying again."; };
