// The report of the last run: loaded when there is a new one.

import { at } from "./dom.js";

let shown = null;

export async function look() {
  const answer = await fetch("v1/report");
  if (answer.status !== 200) {
    at("report-verdict").textContent = "No report yet. When a run has ended, its report is shown here.";
    return;
  }
  const { started_at: started, verdict, file } = await answer.json();
  if (started === shown) return;
  shown = started;
  const broken = verdict.broken_promises.length;
  const text = !verdict.valid ? `VOID: ${verdict.void_reasons[0] ?? "the run is no evidence"}` : broken > 0 ? `FAILED: ${verdict.broken_promises.join("; ")}`
    : verdict.promises_tested > 0 ? "PASSED: no strategy oversold where it promises not to." : "SHOWN: no strategy of this run promises anything.";
  at("report-verdict").textContent = text;
  at("report-verdict").className = `banner ${!verdict.valid ? "" : broken > 0 ? "over" : verdict.promises_tested > 0 ? "good" : ""}`;
  at("report-link").hidden = at("report-frame").hidden = !file;
  if (file) at("report-frame").src = `report/?${encodeURIComponent(started)}`;
}
