// Draws a trace as a sequence diagram, and steps through it.

import { make, svg } from "./dom.js";
import { conclusion, steps } from "./steps.js";

const LANE = 132, ROW = 34, TOP = 46;
const pretty = (text) => {
  const cut = text.indexOf("\n"), [head, rest] = cut < 0 ? ["", text] : [text.slice(0, cut), text.slice(cut + 1)];
  const indented = (part) => { try { return JSON.stringify(JSON.parse(part), null, 1).replace(/\n\s*/g, " "); } catch { return part; } };
  return [head, indented(rest)].filter(Boolean).join("\n");
};

function lanes(list) {
  const seen = new Set(list.flatMap((step) => [step.from, step.to]));
  const order = [/^customer A/, /^order-1/, /^customer B/, /^order/, /Redis/, /^inventory/, /^Postgres/];
  const rank = (lane) => order.findIndex((pattern) => pattern.test(lane));
  return [...seen].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
}

function diagram(list, current, choose) {
  const names = lanes(list), x = (lane) => LANE * (names.indexOf(lane) + 0.5), y = (row) => TOP + ROW * (row + 0.75);
  const width = LANE * names.length, height = TOP + ROW * (list.length + 0.5);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Sequence diagram of ${list.length} steps; each is listed below` });
  // Letters keep their size; a narrow window scrolls.
  root.style.minWidth = `${width * 0.8}px`;
  for (const lane of names) {
    root.append(svg("line", { class: "lifeline", x1: x(lane), x2: x(lane), y1: TOP - 12, y2: height }));
    root.append(svg("text", { class: "lane", x: x(lane), y: 22, "text-anchor": "middle" }, lane));
  }
  const held = list.map((step, row) => (step.kind === "held" ? row : -1)).filter((row) => row >= 0);
  if (held.length > 0) {
    const [from, to] = [held[0], Math.min(held[1] ?? current, current)];
    if (current >= from) root.append(svg("rect", { class: "held-bar", x: x(list[from].from) - 9, width: 18, y: y(from) - 6, height: Math.max(y(to) - y(from), 8) + 6 }));
  }
  list.forEach((step, row) => {
    const group = svg("g", { class: `step ${step.kind} ${row === current ? "current" : row > current ? "later" : ""}` });
    const [a, b, down] = [x(step.from), x(step.to), y(row)];
    group.append(svg("rect", { class: "hit", x: 0, y: down - ROW * 0.75, width, height: ROW }));
    if (step.from === step.to) {
      group.append(svg("circle", { cx: a, cy: down - 3, r: 5 }));
      group.append(svg("text", { x: a + (a > width - LANE ? -12 : 12), y: down + 1, "text-anchor": a > width - LANE ? "end" : "start" }, step.title));
    } else {
      const side = a < b ? 1 : -1;
      group.append(svg("line", { x1: a, x2: b - side * 8, y1: down, y2: down }));
      group.append(svg("path", { d: `M${b},${down}l${-side * 9},-5v10z` }));
      // About seven units a letter: a long title stays inside.
      const half = step.title.length * 3.5, middle = Math.min(Math.max((a + b) / 2, half), width - half);
      group.append(svg("text", { x: middle, y: down - 6, "text-anchor": "middle" }, step.title));
    }
    group.addEventListener("click", () => choose(row));
    root.append(group);
  });
  return root;
}

function panel(step, number, of) {
  const began = step.offset;
  const table = (rows) => make("table", make("tbody", ...rows.map(([name, text]) => make("tr", (() => { const th = make("th", name); th.scope = "row"; return th; })(), make("td", text)))));
  const row = (name, stored) => [name, `available ${stored.available} · fence ${stored.fence} · applied ${stored.applied_fence}`];
  const code = (text) => { const pre = make("pre", pretty(text)); pre.tabIndex = 0; pre.setAttribute("aria-label", "What was sent"); pre.setAttribute("role", "region"); return pre; };
  return [
    make("h2", `${number + 1} of ${of}: ${step.title}`),
    make("p.muted", `${step.from}${step.from === step.to ? "" : ` → ${step.to}`}, ${began} ms after the first request`),
    make("p", step.means),
    step.request ? code(step.request) : null,
    step.reply ? make("p.muted", "Reply") : null,
    step.reply ? code(step.reply) : null,
    step.replies ? table(step.replies) : null,
    step.before && step.after ? table([row("row before", step.before), row("row after", step.after)]) : null,
  ];
}

/** The view of one kind: shows its last trace, a step at a time. */
export class TraceView {
  constructor(view, kind) {
    Object.assign(this, { kind, section: view, shown: view.querySelector(".shown"), trace: null, list: [], current: 0, timer: null });
  }

  async load() {
    const answer = await fetch(`v1/traces/${this.kind}`);
    if (answer.status !== 200) return;
    const trace = await answer.json();
    if (this.trace?.number === trace.number) return;
    Object.assign(this, { trace, list: steps(trace) });
    const first = this.list[0]?.at ?? 0;
    for (const step of this.list) step.offset = ((step.at - first) / 1000).toFixed(0);
    this.build();
    this.go(this.kind === "holder" ? this.list.length - 1 : 0);
  }

  build() {
    const [text, kind] = conclusion(this.trace);
    const button = (name, key, does) => {
      const node = make("button", make("kbd", key), name);
      node.type = "button";
      node.setAttribute("aria-keyshortcuts", key);
      node.addEventListener("click", does);
      return node;
    };
    const end = this.list.length - 1;
    this.buttons = {
      b: button("Back", "B", () => this.go(this.current - 1)), n: button("Step", "N", () => this.go(this.current + 1)),
      y: button("Replay", "Y", () => this.replay()), e: button("End", "E", () => this.go(end)),
    };
    const stepper = make("div.stepper", ...Object.values(this.buttons));
    stepper.setAttribute("role", "group");
    stepper.setAttribute("aria-label", "Steps");
    this.scroll = make("div.diagram");
    this.scroll.tabIndex = 0;
    this.scroll.setAttribute("role", "region");
    this.scroll.setAttribute("aria-label", "Sequence diagram");
    this.panel = make("div.card.panel");
    this.panel.setAttribute("aria-live", "polite");
    const rows = make("p.muted", this.stored());
    const all = make("details", make("summary", `All ${this.trace.messages.length} messages`), make("ol", ...this.trace.messages.map((message) =>
      make("li", `${message.from} → ${message.to}: ${message.request.replace(/\n/g, " ")} ⇒ ${(message.reply ?? "no answer").replace(/\n/g, " ")}`))));
    const banner = make(`p.banner.${kind || "plain"}`, `${this.trace.strategy}: ${text}`);
    banner.setAttribute("role", "status");
    this.shown.replaceChildren(banner, stepper, make(lanes(this.list).length > 6 ? "div.played.stacked" : "div.played", this.scroll, this.panel), rows, all);
  }

  stored() {
    const { ledger, refusals, stock } = this.trace.rows;
    const line = (row) => `${row.kind} ${row.before} → ${row.after}${row.fence ? ` (token ${row.fence})` : ""}`;
    const refused = refusals.map((row) => `token ${row.token} refused at the ${row.step}, the fence was ${row.current}`);
    return `In Postgres: available ${stock?.available}, fence ${stock?.fence}, applied ${stock?.applied_fence}. Ledger: ${ledger.map(line).join("; ")}. ${refused.length > 0 ? `Refusals: ${refused.join("; ")}.` : "No refusals."}`;
  }

  go(step) {
    clearInterval(this.timer);
    this.show(step);
  }

  show(step) {
    this.current = Math.max(0, Math.min(step, this.list.length - 1));
    this.scroll.replaceChildren(diagram(this.list, this.current, (row) => this.go(row)));
    // Only the diagram scrolls to the step, not the page.
    const drawn = this.scroll.firstChild;
    this.scroll.scrollTop = (TOP + ROW * (this.current + 0.75)) * drawn.clientHeight / drawn.getAttribute("height") - this.scroll.clientHeight / 2;
    this.panel.replaceChildren(...panel(this.list[this.current], this.current, this.list.length).filter(Boolean));
    [this.buttons.b.disabled, this.buttons.n.disabled] = [this.current === 0, this.current === this.list.length - 1];
    this.section.dataset.step = this.current + 1;
    this.section.dataset.steps = this.list.length;
  }

  replay() {
    this.go(0);
    this.timer = setInterval(() => {
      if (this.current >= this.list.length - 1) return clearInterval(this.timer);
      this.show(this.current + 1);
    }, 900);
  }

  key(name) {
    const button = this.buttons?.[name];
    if (button && !button.disabled) button.click();
    return Boolean(button);
  }
}
