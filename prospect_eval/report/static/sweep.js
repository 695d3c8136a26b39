// All runs of a sweep: Pareto front with dominated runs in grey, curves over thresholds, table with links to the reports.
"use strict";

const charts = document.getElementById("charts");
if (DATA.pareto_front.points.length > 1) frontChart(charts, DATA.pareto_front);
for (const [of, curves] of Object.entries(DATA.curves)) for (const [knob, points] of Object.entries(curves)) {
  const slow = knob === "latency";
  closedCurves(charts, slow ? `${of}: latency` : `${of}: ${knob} threshold`, points, slow);
}

const best = new Set(DATA.pareto_front.points.filter((p) => p.on_front).map((p) => p.run));
const points = new Map(DATA.pareto_front.points.map((p) => [p.run, p]));
const names = [...new Set(DATA.runs.flatMap((run) => Object.keys(run.metrics)))];
const head = ["run", "on the front", "share of none", ...names];
document.getElementById("runs").append(el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "runs" }, el("table", {},
  el("thead", {}, el("tr", {}, ...head.map((name) => el("th", { scope: "col" }, name)))),
  el("tbody", {}, ...DATA.runs.map((run) => {
    const point = points.get(run.folder);
    return el("tr", { class: point && !point.on_front ? "grey" : null },
      el("td", {}, el("a", { href: run.link }, run.folder)), el("td", {}, best.has(run.folder) ? "yes" : ""), el("td", {}, point && point.share !== null ? `${Math.round(100 * point.share)} %` : ""),
      ...names.map((name) => el("td", {}, run.metrics[name] ? `${number(run.metrics[name].value)} ${interval(run.metrics[name].ci95)}` : "")));
  })))));
performance.mark("ready");
document.documentElement.dataset.ready = "yes";
