// Groups the recorded messages of a trace into the steps that people talk about.

const json = (text) => { try { return JSON.parse(text); } catch { return null; } };
const isLock = (message) => message.to.startsWith("redis-");
const script = (message) => message.request.split(" ")[1];
const owner = (message) => /owner:(\S+?):(?:token:)?(?:\s|$)/.exec(message.request)?.[1] ?? "";
const body = (text) => json((text ?? "").slice((text ?? "").indexOf("\n") + 1));
const status = (text) => (text ?? "").split("\n")[0];
const token = (reply) => /^\[(\d+)/.exec(reply ?? "")?.[1];

/** One step: from lane to lane, a title, what it means, and what was sent. */
function lockStep(group, nodes, lane) {
  const [first] = group, name = script(first);
  const granted = group.filter((message) => token(message.reply)), quorum = quorumOf(nodes);
  const step = {
    at: first.sent_us, from: first.from, to: lane, phase: name === "acquire" ? "acquire" : "release", request: first.request,
    replies: group.map((message) => [message.to, message.reply ?? "no answer"]),
  };
  if (name === "acquire" && granted.length >= quorum) {
    const tokens = granted.map((message) => Number(token(message.reply)));
    return { ...step, kind: "granted", token: Math.max(...tokens), title: `lock: token ${Math.max(...tokens)}`,
      means: `${granted.length} of ${nodes} nodes, a quorum, store the lock until its lease ends, and have counted the token up. Replies after the quorum are not awaited.` };
  }
  if (name === "acquire") {
    const left = Math.max(...group.map((message) => Number(message.reply)).filter(Number.isFinite), 0);
    return { ...step, kind: "waits", title: left > 0 ? `held by another, ${left} ms left` : `${granted.length} of ${nodes}: no quorum`,
      means: left > 0 ? "Another owner has the lock. This one joins the queue and is woken, or tries again when the lease ends." : "Fewer than a quorum granted it: nothing is locked, and nothing will be written." };
  }
  if (name === "seal") return { ...step, phase: "acquire", kind: "seal", title: "the nodes agree on the token", means: "The counters differed; the highest one is stored at a quorum before it is used." };
  if (name === "extend") return { ...step, phase: "decide", kind: "extend", title: "extend the lease", means: "The payment takes longer than the lease: the lock is kept while it runs." };
  if (name === "raise") return { ...step, phase: "acquire", kind: "raise", title: "raise the counters", means: "The nodes had lost their counters: they are raised to the token that Postgres has stored." };
  return { ...step, kind: "released", title: "release", means: "Each node deletes the lock, if it still belongs to this owner, and wakes the next in the queue." };
}

function httpStep(message) {
  const [line] = message.request.split("\n"), answer = body(message.reply), sent = body(message.request);
  const step = { at: message.sent_us, from: message.from, to: message.to, request: message.request, reply: message.reply, kind: "call" };
  if (line.startsWith("POST /v1/claims")) {
    return { ...step, phase: "claim", title: `claim token ${sent?.lines?.[0]?.fencing_token ?? "?"}`,
      means: "The token becomes the fence of the row, and the units are read behind it: a write with an older token is refused from now on." };
  }
  if (line.startsWith("POST /v1/reservations")) {
    const line0 = (sent?.lines ?? sent?.stock)?.[0];
    const [read, carried] = [line0?.observed_available, line0?.fencing_token];
    return { ...step, phase: "reserve", observed: read, title: carried === undefined ? `write: ${read ?? "?"} − 1` : `write with token ${carried}`,
      means: `The order read ${read ?? "?"} available and takes one. ${carried === undefined ? "Nothing proves that it still holds the lock." : "The token goes with the write."} Answer: ${status(message.reply) || "none in time"}${answer?.code ? `, ${answer.code}` : ""}.` };
  }
  return { ...step, phase: "claim", title: line.replace(/\?.*/, "").replace("GET /v1/", "read "), means: `Answer: ${status(message.reply) || "none in time"}.` };
}

function sqlStep(message) {
  const refused = message.reply?.startsWith("refused"), nothing = message.reply === "nothing was written" || message.reply === "[]";
  const claim = message.request.includes("stock_claim"), row = (text) => json((text ?? "").split("} {")[0]);
  const [before, after] = [row(message.before), row(message.after)];
  const title = refused ? "refused: the token is stale" : nothing ? "nothing written"
    : claim ? `fence ${before?.fence} → ${after?.fence}` : `available ${before?.available} → ${after?.available}`;
  const refusal = /stale/.test(message.reply ?? "") ? "refused: the token is stale" : "refused";
  return { at: message.sent_us, from: message.from, to: "Postgres", phase: claim ? "claim" : "reserve", kind: refused || nothing ? "refused" : "sql",
    title: refused ? refusal : title, request: message.request, reply: message.reply, before, after,
    means: refused ? "Postgres compares the token with the fence in the update itself. The write changes nothing." : nothing ? "The shared statement wrote nothing for this order; the order is tried alone, to learn the reason."
      : claim ? "One statement: the token is stored as the fence, if it is not older than the one that is there." : "The update, the reservation and the row of the ledger, in one transaction." };
}

/** Steps in the order in which they happened. */
export function steps(trace) {
  const nodes = trace.nodes || new Set(trace.messages.filter(isLock).map((message) => message.to)).size;
  const lane = `${nodes} × Redis`, list = [], lock = new Map();
  for (const message of trace.messages) {
    if (!isLock(message)) { list.push(message.to === "postgres" ? sqlStep(message) : httpStep(message)); continue; }
    const key = `${message.from} ${script(message)} ${owner(message)}`;
    if (!lock.has(key)) lock.set(key, []);
    lock.get(key).push(message);
  }
  let waited = new Set();
  for (const group of lock.values()) {
    const name = script(group[0]);
    // Leaving a round that did not get the lock is no release.
    if (name === "yield" || (name === "release" && group.every((message) => message.reply === "0"))) continue;
    const step = lockStep(group, nodes, lane);
    // A waiter asks more than once; the first time tells the trace.
    if (step.kind === "waits") {
      if (waited.has(step.from)) continue;
      waited.add(step.from);
    }
    if (step.kind === "granted") waited.delete(step.from);
    list.push(step);
  }
  for (const order of trace.orders) {
    const sent = body(order.request), answer = body(order.answer);
    list.push({ at: order.sent_us, from: order.customer, to: order.replica, phase: "request", kind: "call", title: `order ${sent?.lines?.[0]?.quantity ?? 1} unit`, request: order.request,
      means: "The customer sends an Idempotency-Key: the same request sent again is the same order." });
    const failed = !status(order.answer).startsWith("201");
    list.push({ at: order.answered_us, from: order.replica, to: order.customer, phase: "answer", kind: failed ? "refused" : "sql", title: answer?.code ? `${status(order.answer).split(" ")[0]} ${answer.code}` : status(order.answer) || "no answer",
      request: order.answer ?? "", means: failed ? "The customer has no unit." : "The customer has a unit." });
  }
  for (const write of list.filter((step) => step.phase === "reserve" && step.to.startsWith("inventory"))) {
    list.push({ at: write.at - 1, from: write.from, to: write.from, phase: "decide", kind: "decide", title: write.observed === undefined ? "decide" : `decide: ${write.observed} − 1 = ${write.observed - 1}`, request: `available ${write.observed ?? "?"}, wanted 1\npayment authorised`,
      means: "The order subtracts what it read, and authorises the payment. What others do between the read and the write, it does not see." });
  }
  const { held } = trace;
  if (held) {
    list.push({ at: held.from_us, from: held.replica, to: held.replica, phase: "held", kind: "held", title: "HELD before the write", request: `token ${held.token ?? "none"}`,
      means: "A garbage collector, a hypervisor or a slow network can do this at any moment. The lease ends meanwhile; the holder does not notice." });
    if (held.until_us) {
      list.push({ at: held.until_us, from: held.replica, to: held.replica, phase: "held", kind: "held", title: "the write goes on", request: `outcome: ${held.outcome}`,
        means: `${((held.until_us - held.from_us) / 1e6).toFixed(1)} s later it sends what it had computed.` });
    }
  }
  return list.sort((a, b) => a.at - b.at);
}

/** How many of these nodes are a quorum. */
export const quorumOf = (nodes) => Math.floor(nodes / 2) + 1;

/** What the trace shows, in one sentence, and whether it is bad. */
export function conclusion(trace) {
  const units = (count) => `${count} ${count === 1 ? "unit" : "units"}`;
  if (trace.oversold > 0) return [`${units(trace.stock)} in stock, ${trace.sold} sold: the late write was accepted.`, "over"];
  if (trace.held?.outcome === "stale_fencing_token") return [`${units(trace.stock)} in stock, ${trace.sold} sold. The late write carried token ${trace.held.token} and was refused.`, "good"];
  if (trace.held) return [`${units(trace.stock)} in stock, ${trace.sold} sold. The late write: ${trace.held.outcome ?? "not ended"}.`, "good"];
  const [order] = trace.orders, answer = body(order?.answer);
  return [order?.answer?.startsWith("201") ? `${units(trace.sold)} of ${trace.stock} sold.` : `Nothing was sold: ${status(order?.answer) || "no answer"}${answer?.code ? `, ${answer.code}` : ""}.`, trace.sold > 0 ? "good" : ""];
}

/** What each lock node replied to the first request for the lock, by name. */
export function grants(trace) {
  const acquires = trace.messages.filter((message) => isLock(message) && script(message) === "acquire");
  const first = acquires.filter((message) => owner(message) === owner(acquires[0] ?? { request: "" }));
  return new Map(first.map((message) => [message.to, message.reply]));
}
