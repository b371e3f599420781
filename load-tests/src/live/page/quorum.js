// The lock nodes: break them one by one, and see which replies an order gets.

import { at, make, send } from "./dom.js";
import { conclusion, grants, quorumOf } from "./steps.js";

const FAULTS = [["kill", "Kill", "its locks and counters are gone"], ["pause", "Pause", "it grants no lock until it is healed; what it was sent is done then"],
  ["wipe", "Wipe", "it forgets every key and answers on"],
  ["slow", "Slow", "it answers 300 ms late, after the caller has stopped waiting"], ["cut", "Cut", "nothing reaches it"], ["heal", "Heal", "as it was before"]];
/** A broken node, in words. */
export const SHOWN = { kill: "down", pause: "paused", slow: "slow", cut: "cut off" };
let cards = new Map(), before = "";

function card(name, number, offered, refused) {
  const state = make("p.state"), reply = make("p.reply.muted", "not asked yet");
  const buttons = FAULTS.filter(([fault]) => offered.includes(fault)).map(([fault, label, shows]) => {
    const button = make("button", label);
    Object.assign(button, { type: "button", title: `${label} ${name}: ${shows}` });
    button.dataset.fault = fault;
    button.setAttribute("aria-label", `${label} ${name}: ${shows}`);
    button.addEventListener("click", async () => refused(await send({ do: "node", number, fault })));
    return button;
  });
  const group = make("div.faults", ...buttons);
  return { root: make("section.card.node", make("h2", name), state, reply, group), state, reply, buttons };
}

/** How many nodes answer in time. */
export const answering = (nodes) => nodes.filter((node) => node.responding && !node.fault).length;

export function show(moment, refused) {
  const { nodes, stage } = moment, names = nodes.map((node) => node.name).join();
  if (names !== before) {
    before = names;
    cards = new Map(nodes.map((node, index) => [node.name, card(node.name, index + 1, stage.offered_node_faults, refused)]));
    at("quorum-nodes").replaceChildren(...[...cards.values()].map((card) => card.root));
  }
  for (const node of nodes) {
    const { state, root, buttons } = cards.get(node.name);
    state.textContent = SHOWN[node.fault] ?? (node.responding ? "answers" : "does not answer");
    root.classList.toggle("down", Boolean(node.fault) || !node.responding);
    for (const button of buttons) button.disabled = button.dataset.fault === "heal" ? !node.fault : node.fault === button.dataset.fault || node.fault === "kill";
  }
  if (stage.tracing_order === "order") {
    at("quorum-answer").textContent = "An order is on its way.";
    for (const { reply } of cards.values()) reply.textContent = "asked";
  }
  const well = answering(nodes), quorum = quorumOf(nodes.length);
  const verdict = at("quorum-verdict");
  verdict.textContent = nodes.length === 0 ? "The addresses of the lock nodes are not known here, so they cannot be broken. Order one unit to see their replies."
    : well >= quorum ? `${well} of ${nodes.length} nodes answer in time, ${quorum} are a quorum: the lock is granted.` : `${well} of ${nodes.length} nodes answer in time, ${quorum} are a quorum: nobody gets the lock, and nothing is written.`;
  verdict.className = `banner ${nodes.length > 0 && well < quorum ? "over" : "good"}`;
}

/** Shows the replies that the last order got. */
export async function replies() {
  const answer = await fetch("v1/traces/order");
  if (answer.status !== 200) { at("quorum-answer").textContent = ""; return; }
  const trace = await answer.json(), granted = grants(trace);
  const text = (reply) => reply === undefined ? "no reply in time" : /^\[(\d+)/.test(reply ?? "") ? `granted token ${/^\[(\d+)/.exec(reply)[1]}` : `replied ${reply}`;
  for (const [name, { reply }] of cards) reply.textContent = text(granted.get(name));
  const several = cards.size === 0 ? ` ${[...granted].map(([name, reply]) => `${name} ${text(reply)}`).join(", ")}.` : "";
  at("quorum-answer").textContent = `${trace.strategy}: ${conclusion(trace)[0]}${several}`;
}
